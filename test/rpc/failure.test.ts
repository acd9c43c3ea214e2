import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ERRORS_BY_CODE,
  InstanceNotFound,
  InternalError,
  MessagingTimeout,
  NoValidHost,
  SevbusError,
} from '../../src/errors.ts'
import { decodeFailure, encodeFailure } from '../../src/rpc/failure.ts'

describe('failures on the wire', () => {
  it('are what a Python peer rebuilds its exception from, without a stack of ours', () => {
    expect(JSON.parse(encodeFailure(new NoValidHost('no host', { count: 0 })))).toEqual({
      class: 'NoValidHost',
      module: 'nova.exception',
      message: 'no host',
      tb: ['nova.exception.NoValidHost: no host\n'],
      args: ['no host'],
      kwargs: { count: 0, error_code: 'NO_VALID_HOST' },
    })
  })

  it("of oslo.messaging's own classes carry no keywords, which those would not take, and their facts beside them", () => {
    const error = new MessagingTimeout('no reply', { timeout_ms: 5 })

    expect(JSON.parse(encodeFailure(error))).toMatchObject({
      class: 'MessagingTimeout',
      module: 'oslo_messaging.exceptions',
      args: ['no reply'],
      kwargs: {},
    })
    expect(decodeFailure(encodeFailure(error))).toEqual(error)
  })

  it('bring back every published error with its class, text and details', () => {
    const details = fc.dictionary(fc.stringMatching(/^[a-z][a-z_]{0,9}$/), fc.oneof(fc.string(), fc.integer()))
    fc.assert(
      fc.property(fc.constantFrom(...ERRORS_BY_CODE.values()), fc.string(), details, (Type, message, facts) => {
        delete facts.error_code
        const sent = new Type(message, facts)

        const received = decodeFailure(encodeFailure(sent))

        expect(received).toBeInstanceOf(Type)
        expect({ ...received, message: received.message }).toEqual({ ...sent, message })
      }),
    )
  })

  it('keep text and code of an error whose details JSON cannot carry', () => {
    const details = [{ free: Number.NaN }, JSON.parse('{ "__proto__": 0 }') as Record<string, unknown>]

    for (const facts of details) {
      expect(decodeFailure(encodeFailure(new NoValidHost('no host', facts)))).toEqual(new NoValidHost('no host'))
    }
  })

  it('call what is no error of ours by its text', () => {
    expect(decodeFailure(encodeFailure(new TypeError('odd')))).toEqual(new InternalError('TypeError: odd'))
    expect(decodeFailure(encodeFailure('thrown text'))).toEqual(new InternalError('thrown text'))
  })

  it('are an error for any text that a server may send', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constant('{"class": "X", "message": null}')), (text) => {
        expect(decodeFailure(text)).toBeInstanceOf(SevbusError)
      }),
    )
  })

  it('of Python become RemoteError with what Python says', () => {
    const failure = { class: 'ValueError', module: 'builtins', message: 'bad', tb: ['line\n'], args: [], kwargs: {} }

    expect(decodeFailure(JSON.stringify(failure))).toMatchObject({
      code: 'REMOTE_ERROR',
      message: 'ValueError: bad',
      details: { exc_type: 'ValueError', module: 'builtins', value: 'bad', traceback: ['line\n'] },
    })
  })

  it('of Python are our classes where Python has raised, or handed on, a class of that module and name', () => {
    const failure = {
      class: 'InstanceNotFound',
      module: 'nova.exception',
      message: 'gone',
      kwargs: { instance_id: 'i' },
    }
    const handedOn = { ...failure, class: 'InstanceNotFound_Remote', module: 'nova.exception_Remote' }

    for (const sent of [failure, handedOn]) {
      expect(decodeFailure(JSON.stringify(sent))).toEqual(new InstanceNotFound('gone', { instance_id: 'i' }))
    }
    expect(decodeFailure(JSON.stringify({ ...failure, module: 'cinder.exception' })).code).toBe('REMOTE_ERROR')
  })

  it.each(['12345678901234567890', 'NaN', '-Infinity'])('keep class and text when a value is %s', (value) => {
    const text = `{"class": "InstanceNotFound", "module": "nova.exception", "message": "gone", "kwargs": {"n": ${value}}}`

    expect(decodeFailure(text)).toEqual(new InstanceNotFound('gone'))
  })

  it('of a Python dispatcher are our classes, by its texts', () => {
    const module = 'oslo_messaging.rpc.dispatcher'
    const from = (name: string, message: string) => decodeFailure(JSON.stringify({ class: name, module, message }))

    expect(from('NoSuchMethod', 'Endpoint does not support RPC method x').code).toBe('NO_SUCH_METHOD')
    expect(from('UnsupportedVersion', 'Endpoint does not support RPC version 9.0').code).toBe('UNSUPPORTED_VERSION')
    expect(from('Other', 'text').code).toBe('REMOTE_ERROR')
  })
})
