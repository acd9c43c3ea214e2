import { z } from 'zod'
import { ERRORS_BY_CODE, RemoteError, type SevbusError, toSevbusError } from '../errors.ts'
import { parseJson, stringifyJson } from './json.ts'
import { parseLeniently } from './lenient-json.ts'

/** An exception on oslo.messaging's wire, itself a JSON string. Everything but the text may be missing. */
const WireFailure = z.looseObject({
  class: z.string(),
  module: z.string().default(''),
  message: z.string(),
  tb: z.array(z.string()).catch([]),
  kwargs: z.record(z.string(), z.unknown()).catch({}),
  /** Ours: the facts about an error whose Python class takes no keywords. */
  details: z.record(z.string(), z.unknown()).optional().catch(undefined),
})

const ERRORS_BY_CLASS = new Map(
  [...ERRORS_BY_CODE.values()].map((Type) => [`${new Type('').wireModule}.${Type.name}`, Type] as const),
)

/**
 * Writes an error so that a Python client whose `allowed_remote_exmods` has our module gets its class and kwargs back.
 * No stack is sent: paths of a server are nobody's business.
 */
export function encodeFailure(thrown: unknown): string {
  const error = toSevbusError(thrown)
  const details = isSerializable(error.details) ? error.details : {}
  return stringifyJson({
    class: error.name,
    module: error.wireModule,
    message: error.message,
    tb: [`${error.wireModule}.${error.name}: ${error.message}\n`],
    args: [error.message],
    // The classes of oslo.messaging itself take their text alone, and would not be rebuilt with more.
    ...(error.wireModule.startsWith('oslo_messaging.')
      ? { kwargs: {}, details }
      : { kwargs: { ...details, error_code: error.code } }),
  })
}

/** The error that a reply carries: our class where code or class and module are ours, else RemoteError. Never throws. */
export function decodeFailure(failure: string): SevbusError {
  const parsed = WireFailure.safeParse(parsedFailure(failure))
  if (!parsed.success)
    return new RemoteError('the server failed, in words that cannot be read', { value: failure.slice(0, 500) })
  const { class: className, module, message, tb, kwargs, details } = parsed.data
  const { error_code: code, ...facts } = kwargs
  const Known = (typeof code === 'string' ? ERRORS_BY_CODE.get(code) : undefined) ?? errorOf(module, className)
  if (Known) return new Known(message, details ?? facts)
  return new RemoteError(`${className}: ${message}`, { exc_type: className, module, value: message, traceback: tb })
}

/** One that a Python server raised or handed on, and that has a class here. */
function errorOf(module: string, className: string) {
  // oslo.messaging marks what it has rebuilt from another reply; its own servers cut the mark off again.
  const [wireModule, name] = [module, className].map((text) => text.replace(/_Remote$/, ''))
  return ERRORS_BY_CLASS.get(`${wireModule}.${name}`)
}

/** A number in it that cannot be carried takes the facts away, and not the text. */
function parsedFailure(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    const value = parseLeniently(text)
    return typeof value === 'object' ? { ...value, kwargs: {}, details: undefined } : undefined
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
