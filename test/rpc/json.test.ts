import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidMessage, SevbusError, UnserializableValue } from '../../src/errors.ts'
import { parseJson, stringifyJson } from '../../src/rpc/json.ts'

const { MAX_SAFE_INTEGER } = Number

/** JSON that a message may have: no `__proto__`, no number beyond 2^53. */
const json = fc.jsonValue({ maxDepth: 6 }).filter((value) => {
  const text = JSON.stringify(value)
  return !text.includes('__proto__') && !/\d[eE]|\d{16}/.test(text)
})

describe('JSON of messages', () => {
  it('is unchanged by a round trip', () => {
    fc.assert(
      fc.property(json, (value) => {
        // Of -0 JSON keeps no sign.
        expect(parseJson(stringifyJson(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  it('is a value or InvalidMessage for any text, and never another error', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.json(), fc.string({ unit: fc.constantFrom(...'[{"\\:,}]0Nan') })),
        (text) => {
          try {
            parseJson(text)
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidMessage)
          }
        },
      ),
    )
  })

  it.each(['9007199254740993', '-9007199254740993', '1e400', '[{"a": 123456789012345678901234567890}]'])(
    'refuses %s, which would be another number here',
    (text) => expect(() => parseJson(text)).toThrow('beyond 2^53'),
  )

  it.each([`${MAX_SAFE_INTEGER}`, '0.1234567890123456789', '"12345678901234567890"', '1e-300'])('reads %s', (text) => {
    expect(parseJson(text)).toBe(JSON.parse(text))
  })

  it('says that NaN is not JSON, and quotes nothing of the text', () => {
    const error = thrownBy(() => parseJson('{"password": "s3cr3t", "n": NaN}'))

    expect(error.message).toBe("not JSON (Python's NaN and Infinity are none, either)")
  })

  it.each(['{"__proto__": {}}', '{"\\u005f_proto__": {}}', '[{"a": {"__proto__": 1}}]'])('refuses %s', (text) => {
    expect(() => parseJson(text)).toThrow('__proto__')
  })

  it('reads the word __proto__ where it is a value', () => {
    expect(parseJson('["__proto__", {"constructor": 1}]')).toEqual(['__proto__', { constructor: 1 }])
  })

  it('refuses nesting without a bottom, whatever brackets stand in strings', () => {
    expect(() => parseJson('['.repeat(200_000) + ']'.repeat(200_000))).toThrow('nested deeper')
    expect(parseJson(JSON.stringify('['.repeat(1000)))).toBe('['.repeat(1000))
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 60), 10n])('does not write %s', (value) => {
    expect(thrownBy(() => stringifyJson({ used: [value] }))).toBeInstanceOf(UnserializableValue)
  })

  it('does not write __proto__, which it would not read', () => {
    expect(() => stringifyJson({ a: JSON.parse('{"__proto__": 1}') })).toThrow('__proto__')
  })

  it('does not write a cycle', () => {
    const cycle: unknown[] = []
    cycle.push(cycle)

    expect(() => stringifyJson(cycle)).toThrow(UnserializableValue)
  })
})

function thrownBy(work: () => unknown): SevbusError {
  try {
    work()
  } catch (error) {
    if (error instanceof SevbusError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
