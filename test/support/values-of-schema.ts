import fc from 'fast-check'
import type { z } from 'zod'

type JsonSchema = z.core.JSONSchema.BaseSchema

/** What nobody has asked for: a peer may send it all the same. */
const HOSTILE = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    -1,
    0.5,
    1e300,
    2 ** 53,
    '',
    ' ',
    '\u0000',
    'x'.repeat(300),
    [],
    {},
    null,
    true,
    JSON.parse('{"__proto__": 1}'),
  ),
)

/**
 * Values as a JSON Schema describes them, and now and then something else in their place, or beside them: most are right but for
 * what the schema cannot say.
 */
export function valuesOf(schema: JsonSchema | boolean): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 60, arbitrary: rightOf(schema) }, { weight: 1, arbitrary: HOSTILE })
}

function rightOf(schema: JsonSchema | boolean): fc.Arbitrary<unknown> {
  if (typeof schema === 'boolean') return HOSTILE
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return fc.oneof(...choices.map((one) => rightOf(one as JsonSchema)))
  if (schema.allOf !== undefined) return fc.tuple(...schema.allOf.map((one) => rightOf(one as JsonSchema))).map(merged)
  if (schema.type === 'object') return objectOf(schema)
  if (schema.type === 'array') {
    const { minItems = 0, maxItems = 3, items = true } = schema
    return fc.array(valuesOf(items as JsonSchema), { minLength: minItems, maxLength: Math.min(maxItems, minItems + 3) })
  }
  if (schema.type === 'string') return textOf(schema)
  if (schema.type === 'integer') return fc.integer({ min: least(schema), max: Math.min(most(schema), 2 ** 31 - 1) })
  if (schema.type === 'number') return fc.integer({ min: least(schema), max: Math.min(most(schema), 1000) })
  if (schema.type === 'boolean') return fc.boolean()
  if (schema.type === 'null') return fc.constant(null)
  return HOSTILE
}

function objectOf({ properties = {}, required = [], additionalProperties }: JsonSchema): fc.Arbitrary<unknown> {
  const known = fc.record(
    Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, valuesOf(inner as JsonSchema)])),
    { requiredKeys: required.filter((key) => Object.hasOwn(properties, key)) },
  )
  const others = fc.dictionary(
    fc.constantFrom('hw:mem_encryption', 'os_type', 'toString', 'unknown'),
    typeof additionalProperties === 'object' ? valuesOf(additionalProperties as JsonSchema) : HOSTILE,
    { maxKeys: typeof additionalProperties === 'object' ? 2 : 1 },
  )
  const isBeside = typeof additionalProperties === 'object' ? 1 : 30
  return fc.oneof({ weight: isBeside, arbitrary: known }, { weight: 1, arbitrary: fc.tuple(known, others).map(merged) })
}

function textOf({ pattern, format, minLength = 0, maxLength = 20 }: JsonSchema): fc.Arbitrary<string> {
  if (format === 'uuid') return fc.uuid()
  if (format === 'date-time') return fc.constantFrom('2026-11-23T03:13:11Z', '2024-02-29T00:00:00.123456Z')
  try {
    if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern, 'u'))
  } catch {
    // Of a kind that is not supported.
  }
  return fc.string({ minLength, maxLength: Math.max(minLength, Math.min(maxLength, 20)) })
}

function least({ minimum, exclusiveMinimum }: JsonSchema): number {
  return Math.max(minimum ?? -100, typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : -(2 ** 31))
}

function most({ maximum, exclusiveMaximum }: JsonSchema): number {
  return Math.min(maximum ?? 2 ** 40, typeof exclusiveMaximum === 'number' ? exclusiveMaximum - 1 : 2 ** 40)
}

function merged(parts: readonly unknown[]): unknown {
  return Object.assign({}, ...parts)
}
