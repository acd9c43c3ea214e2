import { z } from 'zod'
import type { Api, Method } from '../../src/rpc/contract.ts'

/** Objects that the page describes once, by the name they have in the code. */
export type NamedObjects = Readonly<Record<string, z.ZodType>>

/**
 * The page of the RPC interfaces, out of the contract objects themselves.
 * @param aliases stricter forms of objects, as somebody writes them; not described again
 */
export function rpcMarkdown(apis: readonly Api[], objects: NamedObjects, aliases: NamedObjects = {}): string {
  const named = [...Object.entries(objects), ...Object.entries(aliases)]
  const names = new Map(named.map(([name, schema]) => [schema, name]))
  const services = apis.flatMap((api) => [
    `## ${api.service} ${api.version}`,
    '',
    `Topic \`sevbus-${api.service}\` on exchange \`sevbus\` (configurable: transport.topic_prefix, transport.exchange).`,
    '',
    ...Object.values(api.methods).flatMap((method) => methodLines(method, names)),
  ])
  const described = Object.entries(objects).flatMap(([name, schema]) => [
    `### ${name}`,
    '',
    ...fieldLines(schema, names),
    '',
  ])
  return `${[INTRODUCTION, ...services, '## Objects', '', ...described].join('\n').trimEnd()}\n`
}

const INTRODUCTION = `# RPC interfaces

What the workers can be asked, made from the contract objects that servers and clients share (\`sevbus/contracts\`). A
call waits for its result and is begun at most once; *that reads* says that our client asks once more where its server was
lost (\`SERVER_LOST\`). A cast is stored by the broker and handled at least once. Arguments go by name; unknown ones are
refused. Errors are in [errors.md](errors.md). Python peers use the wire names with oslo.messaging, no namespace. Every
server also answers its \`oslo_rpc_server_ping\`.
`

function methodLines(method: Method, names: ReadonlyMap<z.ZodType, string>): string[] {
  const result = method.kind === 'call' ? ['', 'Result:', '', ...fieldLines(method.output, names)] : []
  return [
    `### ${method.wire}`,
    '',
    `*${method.kind}${method.isRead ? ' that reads' : ''}, since ${method.since}.* ${method.summary}`,
    '',
    ...fieldLines(method.input, names),
    ...result,
    '',
  ]
}

function fieldLines(schema: z.ZodType, names: ReadonlyMap<z.ZodType, string>): string[] {
  const inner = schema instanceof z.ZodReadonly ? (schema.unwrap() as z.ZodType) : schema
  if (!(inner instanceof z.ZodObject)) return [`- ${typeOf(inner, names)}`]
  const fields = Object.entries(inner.shape as Record<string, z.ZodType>)
  if (fields.length === 0) return ['- nothing']
  return fields.map(([name, field]) => `- \`${name}\`: ${typeOf(field, names)}`)
}

function typeOf(schema: z.ZodType, names: ReadonlyMap<z.ZodType, string>): string {
  const inside = (inner: unknown) => typeOf(inner as z.ZodType, names)
  const known = names.get(schema)
  if (known !== undefined) return known
  if (schema instanceof z.ZodDefault)
    return `${inside(schema.unwrap())}, ${JSON.stringify(schema.def.defaultValue)} when absent`
  if (schema instanceof z.ZodOptional && schema.unwrap() instanceof z.ZodNever) return 'refused when there'
  if (schema instanceof z.ZodOptional) return `${inside(schema.unwrap())}, may be absent`
  if (schema instanceof z.ZodNullable) return `${inside(schema.unwrap())} or null`
  if (schema instanceof z.ZodReadonly) return inside(schema.unwrap())
  if (schema instanceof z.ZodArray) return `list of ${inside(schema.element)}`
  if (schema instanceof z.ZodRecord) return `map of ${inside(schema.keyType)} to ${inside(schema.valueType)}`
  if (schema instanceof z.ZodEnum) return schema.options.map((option) => `\`${option}\``).join(', ')
  if (schema instanceof z.ZodLiteral) return `\`${[...schema.values].join('`, `')}\``
  if (schema instanceof z.ZodUnion) return schema.options.map(inside).join(' or ')
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape as Record<string, z.ZodType>)
    return `{ ${fields.map(([name, field]) => `${name}: ${inside(field)}`).join('; ')} }`
  }
  return scalar(schema)
}

function scalar(schema: z.ZodType): string {
  const { type, format, pattern } = z.toJSONSchema(schema) as { type?: string; format?: string; pattern?: string }
  if (format === 'date-time') return 'time (ISO 8601)'
  if (schema instanceof z.ZodGUID) return 'uuid'
  if (type === 'string' && pattern?.startsWith('^0x')) return 'hexadecimal string'
  return type ?? 'anything'
}
