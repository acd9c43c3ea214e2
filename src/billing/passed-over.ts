import { isBilled } from './read-fact.ts'

const KEY = Buffer.from('"event_type"')
const ESCAPED_LETTER = Buffer.from('\\u')
const [BRACE, CLOSING_BRACE, RETURN] = ['{', '}', '\r'].map((letter) => letter.charCodeAt(0))
/** Longer than any type that is billed by, with its key. */
const PAIR_BYTES = 128

/**
 * Whether a line surely holds a notification that nothing is billed by, as its bytes show: most do, and to parse one costs more than
 * to bill. In JSON a key is written as it is, or has escaped letters; so where none is escaped, the type is among the values behind
 * that word. False says nothing. A line that was torn may pass as well: of what is torn off nobody could bill.
 */
export function isPassedOver(line: Buffer): boolean {
  const end = line.at(-1) === RETURN ? line.length - 1 : line.length
  if (line[0] !== BRACE || line[end - 1] !== CLOSING_BRACE) return false
  let at = line.indexOf(KEY)
  if (at < 0 || line.includes(ESCAPED_LETTER)) return false
  for (; at >= 0; at = line.indexOf(KEY, at + KEY.length)) {
    const event_type = /^"event_type"\s*:\s*"([^"\\]*)"/.exec(line.toString('latin1', at, at + PAIR_BYTES))?.[1]
    if (event_type === undefined || isBilled({ event_type })) return false
  }
  return true
}
