import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidMessage, UnserializableValue } from '../../src/errors.ts'
import { decodeEnvelope, decodeMessage, encodeEnvelope, MAX_BODY_BYTES } from '../../src/rpc/envelope.ts'
import { salvage } from '../../src/rpc/salvage.ts'

const decode = (body: string | Buffer) => decodeEnvelope(Buffer.from(body as string), 'application/json')

describe('the envelope', () => {
  it('has two keys, and the message in it as a string', () => {
    expect(encodeEnvelope({ method: 'say', n: 1 })).toBe(
      '{"oslo.version":"2.0","oslo.message":"{\\"method\\":\\"say\\",\\"n\\":1}"}',
    )
  })

  it('gives back what was put in', () => {
    const message = fc.dictionary(
      fc.string().filter((key) => key !== '__proto__' && !key.startsWith('oslo.')),
      fc.oneof(fc.string(), fc.boolean(), fc.integer(), fc.constant(null), fc.array(fc.string())),
    )
    fc.assert(
      fc.property(message, (sent) => {
        expect({ ...decode(encodeEnvelope(sent)) }).toEqual({ ...sent })
      }),
    )
  })

  it('is an object or InvalidMessage for any bytes, and never another error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.option(fc.string()), (bytes, contentType) => {
        try {
          decodeEnvelope(Buffer.from(bytes), contentType ?? 'application/json')
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidMessage)
        }
      }),
    )
  })

  it('may be missing, as in format 1.0', () => {
    expect(decode('{"method": "say"}')).toEqual({ method: 'say' })
    expect(decode('{"oslo.version": "9.0", "method": "say"}')).toEqual({ 'oslo.version': '9.0', method: 'say' })
  })

  it.each([
    ['another version', '{"oslo.version": "2.1", "oslo.message": "{}"}', 'only 2.0 is known'],
    ['a message that is no string', '{"oslo.version": "2.0", "oslo.message": {}}', 'oslo.message is not a string'],
    ['a message that is a list', '{"oslo.version": "2.0", "oslo.message": "[]"}', 'oslo.message is not a JSON object'],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'not UTF-8'],
    ['more bytes than are read', Buffer.alloc(MAX_BODY_BYTES + 1), 'at most'],
  ])('refuses %s', (_, body, problem) => {
    expect(() => decode(body)).toThrow(problem)
  })

  it.each([undefined, 'text/plain', 'application/json; charset=utf-8'])(
    'refuses the content type %s',
    (contentType) => {
      expect(() => decodeEnvelope(Buffer.from('{}'), contentType)).toThrow('content_type')
    },
  )

  it('is not written larger than it would be read', () => {
    expect(() => encodeEnvelope({ text: 'ö'.repeat(MAX_BODY_BYTES / 2) })).toThrow(UnserializableValue)
  })
})

describe("Python's types in a message without envelope, as kombu 5.3 writes them", () => {
  const typed = (type: string, value: unknown) => ({ __type__: type, __value__: value })

  it('become the text that older ones write, wherever they are', () => {
    const body = {
      payload: {
        at: typed('datetime', '2026-11-23T03:13:11.563638'),
        list: [typed('uuid', { hex: '0123456789abcdef0123456789abcdef' }), typed('decimal', '0.10')],
        more: { ...typed('date', '2026-11-23'), third: 1 },
      },
    }

    expect(decode(JSON.stringify(body))).toEqual({
      payload: {
        at: '2026-11-23T03:13:11.563638',
        list: ['01234567-89ab-cdef-0123-456789abcdef', '0.10'],
        more: body.payload.more,
      },
    })
  })

  it.each([
    ['a type that kombu has not', typed('complex', '1j')],
    ['a value that is not of its type', typed('uuid', { hex: 'x' })],
    ['a text that is none', typed('datetime', 7)],
  ])('are refused with %s', (_, value) => {
    expect(() => decode(JSON.stringify({ payload: value }))).toThrow(InvalidMessage)
  })

  it('are data like any other within an envelope', () => {
    const message = { payload: typed('datetime', 'then') }

    expect(decode(encodeEnvelope(message))).toEqual(message)
  })
})

describe('a body that kombu has compressed', () => {
  const contentType = 'application/json'
  const zlib = { compression: 'application/x-gzip' }

  it('is read as if it were not', () => {
    const body = deflateSync(encodeEnvelope({ method: 'say' }))

    expect(decodeMessage({ body, contentType, headers: zlib })).toEqual({ method: 'say' })
    expect(decodeMessage({ body: Buffer.from('{}'), contentType, headers: { compression: '' } })).toEqual({})
  })

  it('is refused when unpacked it is larger than any message may be', () => {
    const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024))

    expect(bomb.length).toBeLessThan(100_000)
    expect(() => decodeMessage({ body: bomb, contentType, headers: zlib })).toThrow('when unpacked')
  })

  it.each([
    ['another compression', { compression: 'application/x-bz2' }, 'the only one read'],
    ['a compression that is no text', { compression: 7 }, 'the only one read'],
    ['bytes that are not what they are called', zlib, 'cannot be unpacked'],
  ])('is refused with %s', (_, headers, problem) => {
    expect(() => decodeMessage({ body: Buffer.from('{}'), contentType, headers })).toThrow(problem)
  })
})

describe('the ids of a message that is refused', () => {
  const ids = '"_msg_id": "a1b2", "_reply_q": "reply_c3d4"'
  const enveloped = (inner: string) => JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': inner })
  const found = (body: string | Buffer, headers = {}) => {
    const message = { body: Buffer.from(body as string), contentType: 'application/json', headers }
    const { msgId, reply } = salvage(message)
    return { msgId, reply }
  }
  const both = { msgId: 'a1b2', reply: { msgId: 'a1b2', queue: 'reply_c3d4' } }

  it.each([
    ['NaN', `{"args": {"n": NaN, "text": "\\"-Infinity\\""}, ${ids}}`],
    ['an integer of 20 digits', `{"args": {"n": 12345678901234567890}, ${ids}}`],
    ['arguments that have such keys themselves', `{"args": {"_msg_id": "x", "_reply_q": "y", "n": -Infinity}, ${ids}}`],
    ['more bytes than are read', `{"args": {"text": "${'x'.repeat(MAX_BODY_BYTES)}"}, ${ids}}`],
    ['no end', `{"args": {}, ${ids}, `],
  ])('are found in a message with %s, bare, in the envelope and compressed', (_, message) => {
    expect(found(message)).toEqual(both)
    expect(found(enveloped(message))).toEqual(both)
    if (message.length > MAX_BODY_BYTES) return
    expect(found(deflateSync(enveloped(message)), { compression: 'application/x-gzip' })).toEqual(both)
  })

  it('are not guessed', () => {
    const nothing = { msgId: undefined, reply: undefined }

    expect(found('{"_msg_id": "a1b2"}')).toEqual({ msgId: 'a1b2', reply: undefined })
    expect(found('{"_msg_id": 7, "_reply_q": "q"}')).toEqual(nothing)
    expect(found('')).toEqual(nothing)
    expect(found(`{${ids}}`, { compression: 'application/x-bz2' })).toEqual(nothing)
  })

  // Each would take hours if the time grew with the square of the length.
  it.each([
    ['quotes', enveloped('\\"'.repeat(300_000))],
    ['quotes without an end', enveloped('\\"'.repeat(300_000)).slice(0, -5)],
    ['nothing but quotes', '"'.repeat(1_000_001)],
    ['brackets', '['.repeat(1_000_000)],
  ])('are looked for in a million %s', (_, body) => {
    expect(found(body)).toEqual({ msgId: undefined, reply: undefined })
  })
})
