import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidMessage } from '../../src/errors.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { decodeRequest, encodeRequest } from '../../src/rpc/request.ts'
import { isCompatible } from '../../src/rpc/version.ts'

const draft = {
  method: 'select_destinations',
  args: { n: 1 },
  namespace: undefined,
  version: '1.0',
  context: { request_id: 'req-1', user_id: 'u-1', roles: ['admin'] },
}

describe('requests', () => {
  it('are written with the keys of oslo.messaging, in its order', () => {
    const reply = { msgId: 'a1', queue: 'reply_b2', monitorSeconds: undefined }

    const message = decodeEnvelope(Buffer.from(encodeRequest({ ...draft, reply })), 'application/json')

    expect(Object.entries(message)).toEqual([
      ['method', 'select_destinations'],
      ['args', { n: 1 }],
      ['version', '1.0'],
      ['_msg_id', 'a1'],
      ['_reply_q', 'reply_b2'],
      ['_timeout', null],
      ['_unique_id', expect.stringMatching(/^[0-9a-f]{32}$/)],
      ['_context_request_id', 'req-1'],
      ['_context_user_id', 'u-1'],
      ['_context_roles', ['admin']],
    ])
  })

  it('come back as they were sent, casts without a reply address', () => {
    const request = decodeRequest(decodeEnvelope(Buffer.from(encodeRequest(draft)), 'application/json'))

    expect(request).toEqual({ ...draft, uniqueId: expect.any(String), reply: undefined })
  })

  it('may lack what Python leaves out', () => {
    expect(decodeRequest({ method: 'say', _context_request_id: null })).toEqual({
      method: 'say',
      args: {},
      namespace: undefined,
      version: '1.0',
      context: { request_id: expect.stringMatching(/^req-/) },
      uniqueId: undefined,
      reply: undefined,
    })
  })

  it('have no version that is served when theirs is null, as for Python', () => {
    expect(decodeRequest({ method: 'say', version: null }).version).toBe('None')
    expect(isCompatible('1.0', 'None')).toBe(false)
  })

  it('ask for signs of life from two seconds up, and not for longer than a timer can wait', () => {
    const monitor = (timeout: unknown) =>
      decodeRequest({ method: 'say', _msg_id: 'a', _reply_q: 'q', _timeout: timeout }).reply?.monitorSeconds

    expect([null, 1, 'x', 2, 30, 1e12].map(monitor)).toEqual([undefined, undefined, undefined, 2, 30, 3600])
  })

  it.each([
    ['no method', { args: {} }, 'method is missing'],
    ['a list of arguments', { args: [] }, 'args is not an object'],
    ['no arguments, said so', { args: null }, 'args is not an object'],
    ['a version that is a number', { version: 1 }, 'version is not a version'],
    ['a version without end', { version: '1'.repeat(41) }, 'version is not a version'],
    ['a namespace that is a number', { namespace: 7 }, 'namespace is not a name'],
    ['nowhere to reply to', { _msg_id: 'a' }, '_reply_q is not a name'],
  ])('are refused with %s', (name, keys, problem) => {
    const method = name === 'no method' ? {} : { method: 'say' }

    expect(() => decodeRequest({ ...method, ...keys })).toThrow(problem)
  })

  it('are refused when their context is none', () => {
    expect(() => decodeRequest({ method: 'say', _context_user_id: 5 })).toThrow('the request context is wrong: user_id')
  })

  it('cannot put a prototype under their context', () => {
    const { context } = decodeRequest({ method: 'say', _context___proto__: { is_admin: true } })

    expect(context.is_admin).toBeUndefined()
  })

  it('are a request or InvalidMessage, whatever their keys hold', () => {
    const keys = [
      'method',
      'args',
      'version',
      'namespace',
      '_msg_id',
      '_reply_q',
      '_timeout',
      '_unique_id',
      '_context_x',
    ]
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...keys), fc.jsonValue()), (message) => {
        try {
          decodeRequest(message)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidMessage)
        }
      }),
    )
  })
})

describe('versions', () => {
  it.each(['1.0', '1.5', '1.5.0', '1.4.9'])('1.5 serves %s', (asked) => {
    expect(isCompatible('1.5', asked)).toBe(true)
  })

  it.each(['1.6', '1.5.1', '0.9', '2.0', '-1.0', '1', 'x.y', '', '1.5 ', '١.٥'])('1.5 does not serve %s', (asked) => {
    expect(isCompatible('1.5', asked)).toBe(false)
  })
})
