import pc from 'picocolors'
import type { DeadLetter } from '../rpc/dead-letter-box.ts'
import { parseLeniently } from '../rpc/lenient-json.ts'
import { facts, table } from './table.ts'

/** Of a request's context: the rest may be tokens of whoever asked. */
const SHOWN_CONTEXT = new Set(['request_id', 'global_request_id', 'user_id', 'project_id', 'timestamp'])
const CONTEXT_PREFIX = '_context_'
const REASON_WIDTH = 70
/** Of what is no JSON. */
const SHOWN_BYTES = 256
/** What a terminal would act on, or hide, instead of showing it: escape sequences, turned text. */
const INVISIBLE = /[\p{Cc}\p{Cf}]/gu

export function letterTable(letters: readonly DeadLetter[]): string {
  const rows = letters.map((letter) => [
    line(letter.id),
    parkedAt(letter),
    line(letter.queue),
    letter.method ?? '-',
    String(letter.tries),
    String(letter.body.length),
    line(letter.errorCode),
    shortened(letter.error),
  ])
  return table(['ID', 'PARKED AT', 'QUEUE', 'METHOD', 'TRIES', 'BYTES', 'CODE', 'REASON'], rows)
}

export function letterFacts(letter: DeadLetter): string {
  return facts([
    ['id', line(letter.id)],
    ['parked at', parkedAt(letter)],
    ['queue', line(letter.queue)],
    ['method', letter.method ?? 'cannot be read'],
    ['tries', String(letter.tries)],
    ['sender', line(letter.userId ?? 'did not say')],
    ['error', line(`${letter.errorCode}: ${letter.error}`)],
    ['bytes', String(letter.body.length)],
  ])
}

/** The message for people; still JSON. */
export function letterText(letter: DeadLetter): string {
  const text = JSON.stringify(letterContent(letter), null, 2)
  return text.replace(INVISIBLE, (char) => (char === '\n' ? char : escaped(char)))
}

/** For programs: what the table has, and what is asked for by `show`. */
export function letterJson({ body, parkedAtMs, contentType: _, ...letter }: DeadLetter) {
  const parked_at = parkedAtMs === undefined ? null : new Date(parkedAtMs).toISOString()
  const { id, queue, method = null, errorCode, error, tries, userId = null } = letter
  return { id, parked_at, queue, method, tries, code: errorCode, reason: error, sender: userId, bytes: body.length }
}

/** The message itself, without what must not be seen; text where it is no JSON. */
export function letterContent({ body }: DeadLetter): unknown {
  const outer = parseLeniently(body.toString('utf8'))
  if (!isObject(outer)) return excerpt(body)
  const inner = typeof outer['oslo.message'] === 'string' ? parseLeniently(outer['oslo.message']) : outer
  if (!isObject(inner)) return excerpt(body)
  return Object.fromEntries(
    Object.entries(inner).map(([key, value]) => {
      const isHidden = key.startsWith(CONTEXT_PREFIX) && !SHOWN_CONTEXT.has(key.slice(CONTEXT_PREFIX.length))
      return [key, isHidden && value !== null ? '[hidden]' : value]
    }),
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** It may be a request that was cut off: then its context, and all that follows, is not shown. */
function excerpt(body: Buffer): string {
  const context = body.indexOf(CONTEXT_PREFIX)
  const end = Math.min(context < 0 ? body.length : context, SHOWN_BYTES)
  const text = JSON.stringify(body.subarray(0, end).toString('latin1')).slice(1, -1)
  return end < body.length ? `${text}… (${body.length} bytes)` : text
}

function parkedAt({ parkedAtMs }: DeadLetter): string {
  return parkedAtMs === undefined ? '-' : new Date(parkedAtMs).toISOString().replace('T', ' ').slice(0, 19)
}

function shortened(reason: string): string {
  const text = line(reason)
  return text.length > REASON_WIDTH ? `${text.slice(0, REASON_WIDTH - 1)}${pc.dim('…')}` : text
}

/** One line, whatever a peer wrote into its error. */
function line(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replace(INVISIBLE, escaped)
}

function escaped(char: string): string {
  return [...Array(char.length).keys()].map((at) => `\\u${hex(char.charCodeAt(at))}`).join('')
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, '0')
}
