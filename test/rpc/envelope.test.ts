import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidMessage, UnserializableValue } from '../../src/errors.ts'
import { decodeEnvelope, encodeEnvelope, MAX_BODY_BYTES } from '../../src/rpc/envelope.ts'
import { salvageMsgId, salvageReplyAddress } from '../../src/rpc/salvage.ts'

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

describe('the ids of a message that cannot be parsed', () => {
  const ids = '"_msg_id": "a1b2", "_reply_q": "reply_c3d4"'

  it('are found bare and within the envelope', () => {
    const bare = `{"args": {"n": NaN}, ${ids}}`
    const enveloped = JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': bare })

    for (const body of [bare, enveloped]) {
      expect(salvageReplyAddress(Buffer.from(body))).toEqual({ msgId: 'a1b2', queue: 'reply_c3d4' })
      expect(salvageMsgId(Buffer.from(body))).toBe('a1b2')
    }
  })

  it('are not guessed', () => {
    expect(salvageReplyAddress(Buffer.from('{"_msg_id": "a1b2"}'))).toBeUndefined()
    expect(salvageReplyAddress(Buffer.from('{"_msg_id": 7, "_reply_q": "q"}'))).toBeUndefined()
    expect(salvageMsgId(Buffer.from(''))).toBeUndefined()
  })
})
