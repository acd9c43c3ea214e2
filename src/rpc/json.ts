import { InvalidMessage, UnserializableValue } from '../errors.ts'

/** A run of 16 digits may be an integer that a double cannot hold; only then is a closer look worth its cost. */
const LONG_NUMBER = /\d{16}/
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const INTEGER = /^-?\d+$/
const PROTO_KEY = /"__proto__"\s*:/

/**
 * JSON.parse that never changes a value in silence: Python writes integers of any size and NaN, which are not JSON's or
 * not JavaScript's. Both are refused by name.
 *
 * @throws InvalidMessage
 */
export function parseJson(text: string): unknown {
  if (PROTO_KEY.test(text))
    throw new InvalidMessage('a JSON object has the key __proto__, which no message of ours has')
  if (LONG_NUMBER.test(text)) refuseUnsafeIntegers(text)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new InvalidMessage(`not JSON: ${(error as Error).message}`, {}, { cause: error })
  }
}

function refuseUnsafeIntegers(text: string): void {
  for (const [token] of text.matchAll(STRING_OR_NUMBER)) {
    if (!INTEGER.test(token) || Number.isSafeInteger(Number(token))) continue
    throw new InvalidMessage(`the integer ${token.slice(0, 40)} is beyond 2^53 and would be changed in silence`, {
      value: token.slice(0, 40),
      fix: 'send it as a string',
    })
  }
}

/** @throws UnserializableValue naming the key whose value JSON cannot carry */
export function stringifyJson(value: unknown): string {
  return JSON.stringify(value, (key, field: unknown) => {
    if (typeof field === 'number' ? isLost(field) : typeof field === 'bigint') {
      throw new UnserializableValue(`${key || 'the value'} is ${String(field)}, which JSON cannot carry unchanged`, {
        field: key,
        value: String(field),
      })
    }
    return field
  })
}

function isLost(value: number): boolean {
  return !Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))
}
