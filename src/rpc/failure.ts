import { z } from 'zod'
import {
  ERRORS_BY_CODE,
  NoSuchMethod,
  RemoteError,
  type SevbusError,
  toSevbusError,
  UnsupportedVersion,
} from '../errors.ts'
import { parseJson, stringifyJson } from './json.ts'

/** An exception on oslo.messaging's wire, itself a JSON string. Everything but the text may be missing. */
const WireFailure = z.looseObject({
  class: z.string(),
  module: z.string().default(''),
  message: z.string(),
  tb: z.array(z.string()).default([]),
  kwargs: z.record(z.string(), z.unknown()).default({}),
})

/**
 * Writes an error so that a Python client whose `allowed_remote_exmods` has our module gets its class and kwargs back.
 * No stack is sent: paths of a server are nobody's business.
 */
export function encodeFailure(thrown: unknown): string {
  const error = toSevbusError(thrown)
  const kwargs = { ...error.details, error_code: error.code }
  return stringifyJson({
    class: error.name,
    module: error.wireModule,
    message: error.message,
    tb: [`${error.wireModule}.${error.name}: ${error.message}\n`],
    args: [error.message],
    kwargs: isSerializable(kwargs) ? kwargs : { error_code: error.code },
  })
}

/** The error that a reply carries, as our class where its code is ours, else as RemoteError. Never throws. */
export function decodeFailure(failure: string): SevbusError {
  const parsed = WireFailure.safeParse(tryParse(failure))
  if (!parsed.success)
    return new RemoteError('the server failed, in words that cannot be read', { value: failure.slice(0, 500) })
  const { class: className, module, message, tb, kwargs } = parsed.data
  const { error_code: code, ...details } = kwargs
  const Known = typeof code === 'string' ? ERRORS_BY_CODE.get(code) : undefined
  if (Known) return new Known(message, details)
  if (module.startsWith('oslo_messaging.rpc.dispatcher')) {
    if (className.startsWith('NoSuchMethod')) return new NoSuchMethod(message)
    if (className.startsWith('UnsupportedVersion')) return new UnsupportedVersion(message)
  }
  return new RemoteError(`${className}: ${message}`, { exc_type: className, module, value: message, traceback: tb })
}

function tryParse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

/** Can it be written, and read again by our own rules? */
function isSerializable(value: unknown): boolean {
  try {
    parseJson(stringifyJson(value))
    return true
  } catch {
    return false
  }
}
