import { z } from 'zod'
import { type JsonSchema, plainer } from './payload-schemas.ts'

/**
 * JSON Schemas of parts of the contracts, with the objects they have in common once each.
 * @param roots the schemas to describe, by the name they get
 * @param objects described once, by name; those that no root reaches are left out
 * @param io `input`: as it is written by who asks; `output`: as it is written by who answers
 */
export function contractSchemas(
  roots: Readonly<Record<string, z.ZodType>>,
  objects: Readonly<Record<string, z.ZodType>>,
  io: 'input' | 'output',
  refTo: (name: string) => string,
): Readonly<Record<string, JsonSchema>> {
  const registry = z.registry<{ id: string }>()
  const named = { ...objects, ...roots }
  for (const [name, schema] of Object.entries(named)) registry.add(schema, { id: name })
  const { schemas } = z.toJSONSchema(registry, {
    target: 'draft-7',
    io,
    uri: refTo,
    override({ zodSchema, jsonSchema }) {
      plainer(jsonSchema)
      // Readers drop what they do not know; only what says so refuses it.
      const { type, catchall } = zodSchema._zod.def as { type: string; catchall?: unknown }
      if (type === 'object' && catchall === undefined) delete jsonSchema.additionalProperties
    },
  })
  const wanted = reachable(Object.keys(roots), schemas, refTo)
  return Object.fromEntries([...wanted].map((name) => [name, bare(schemas[name] as JsonSchema)]))
}

function reachable(
  roots: readonly string[],
  schemas: Readonly<Record<string, JsonSchema>>,
  refTo: (name: string) => string,
): ReadonlySet<string> {
  const names = new Map(Object.keys(schemas).map((name) => [refTo(name), name]))
  const found = new Set<string>()
  const visit = (name: string) => {
    if (found.has(name)) return
    found.add(name)
    for (const ref of refsIn(schemas[name])) visit(names.get(ref) as string)
  }
  roots.forEach(visit)
  return found
}

/** Every `$ref` in it, however deep. */
export function refsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : refsIn(inner),
  )
}

/** As a part of a document, which says for all of them what they are. */
export function bare({ $schema: _schema, $id: _id, ...schema }: JsonSchema): JsonSchema {
  return schema
}
