import { decompress } from './compression.ts'
import { type EncodedMessage, MAX_BODY_BYTES } from './envelope.ts'
import { parseLeniently } from './lenient-json.ts'

/** Names on the wire are AMQP short strings at most; ids are 32 hex digits in practice. */
const NAME = /^[\w.:@-]{1,255}$/
/** The ids are written after the arguments, or the result: in what is too large to be parsed they are near the end. */
const TAIL_BYTES = 64 * 1024

export interface Salvaged {
  readonly msgId: string | undefined
  /** Where a request wants its answer: calls only. */
  readonly reply: { readonly msgId: string; readonly queue: string } | undefined
  /** What a request asks for, for the log. */
  readonly method: string | undefined
  /** On whose behalf, for the log. */
  readonly requestId: string | undefined
}

/**
 * What can be known of a message that is refused (a Python peer wrote NaN, an integer of 20 digits, 10 MB), so that
 * whoever waits learns of it at once and not by a timeout.
 */
export function salvage(message: EncodedMessage): Salvaged {
  const find = searchable(message)
  const keys = ['_msg_id', '_reply_q', 'method', '_context_request_id']
  const [msgId, queue, method, requestId] = keys.map(find).map(asName)
  const reply = msgId === undefined || queue === undefined ? undefined : { msgId, queue }
  return { msgId, reply, method, requestId }
}

/** Looks a key up. */
function searchable({ body, headers }: EncodedMessage): (key: string) => unknown {
  const plain = unpacked(body, headers)
  const parsed = plain.length > MAX_BODY_BYTES ? undefined : innermost(plain.toString('utf8'))
  if (parsed !== undefined) return (key) => parsed[key]
  const tail = plain.subarray(-TAIL_BYTES).toString('latin1')
  return (key) => lastIn(tail, key)
}

function unpacked(body: Buffer, { compression }: EncodedMessage['headers']): Buffer {
  try {
    return decompress(body, compression, MAX_BODY_BYTES)
  } catch {
    return Buffer.of()
  }
}

function innermost(text: string): Record<string, unknown> | undefined {
  const outer = asObject(parseLeniently(text))
  const inner = outer?.['oslo.message']
  return typeof inner === 'string' ? asObject(parseLeniently(inner)) : outer
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}

/** In the text itself, where the key is quoted once or twice. */
function lastIn(text: string, key: string): string | undefined {
  const found = [...text.matchAll(new RegExp(String.raw`"${key}\\?"\s*:\s*\\?"([\w.:@-]{1,255})\\?"`, 'g'))]
  return found.at(-1)?.[1]
}

function asName(value: unknown): string | undefined {
  return typeof value === 'string' && NAME.test(value) ? value : undefined
}
