import { isUtf8 } from 'node:buffer'
import { InvalidMessage, UnserializableValue } from '../errors.ts'
import { decompress } from './compression.ts'
import { parseJson, stringifyJson } from './json.ts'
import { withoutKombuTypes } from './kombu-types.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Version of the envelope that oslo.messaging writes, and the only one it reads. */
const ENVELOPE_VERSION = '2.0'

/** Content type that Python consumers insist on, without a charset. */
export const CONTENT_TYPE = 'application/json'
export const CONTENT_ENCODING = 'utf-8'

/** Larger bodies are neither sent nor parsed: no message of ours comes near. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024

/** The inner message, JSON encoded twice: oslo.messaging's envelope. @throws UnserializableValue */
export function encodeEnvelope(message: JsonObject): string {
  const body = `{"oslo.version":"${ENVELOPE_VERSION}","oslo.message":${JSON.stringify(stringifyJson(message))}}`
  if (body.length > MAX_BODY_BYTES / 4 && Buffer.byteLength(body) > MAX_BODY_BYTES) {
    throw new UnserializableValue(`the message is larger than ${MAX_BODY_BYTES} bytes, which nobody would read`)
  }
  return body
}

/** A message as it arrives: a Delivery, as far as its text is concerned. */
export interface EncodedMessage {
  readonly body: Buffer
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, unknown>>
}

/** Unpacks and takes the envelope off. @throws InvalidMessage saying what is wrong with it */
export function decodeMessage({ body, contentType, headers }: EncodedMessage): JsonObject {
  return decodeEnvelope(decompress(body, headers.compression, MAX_BODY_BYTES), contentType)
}

/**
 * Takes the envelope off. An object without envelope is the message itself ("format 1.0", as Python peers accept it).
 *
 * @throws InvalidMessage saying what is wrong with it
 */
export function decodeEnvelope(body: Buffer, contentType: string | undefined): JsonObject {
  if (body.length > MAX_BODY_BYTES) {
    throw new InvalidMessage(`the message has ${body.length} bytes; at most ${MAX_BODY_BYTES} are read`)
  }
  if (contentType !== CONTENT_TYPE) {
    throw new InvalidMessage(`content_type is ${contentType?.slice(0, 80) ?? 'missing'}; it must be ${CONTENT_TYPE}`)
  }
  const outer = asObject(parseJson(decodeUtf8(body)), 'the message')
  if (!('oslo.version' in outer && 'oslo.message' in outer)) return withoutKombuTypes(outer) as JsonObject
  if (outer['oslo.version'] !== ENVELOPE_VERSION) {
    throw new InvalidMessage(
      `oslo.version is ${JSON.stringify(outer['oslo.version']).slice(0, 40)}; only ${ENVELOPE_VERSION} is known`,
    )
  }
  const inner = outer['oslo.message']
  if (typeof inner !== 'string') throw new InvalidMessage('oslo.message is not a string')
  return asObject(parseJson(inner), 'oslo.message')
}

function asObject(value: unknown, name: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw new InvalidMessage(`${name} is not a JSON object`)
}

function decodeUtf8(body: Buffer): string {
  if (!isUtf8(body)) throw new InvalidMessage('the message is not UTF-8')
  return body.toString('utf8')
}
