import { z } from 'zod'
import { SEVBUS_EXTENSION_VERSION, SevbusExtension } from '../../src/notifications/notification.ts'
import * as operatingPayloads from '../../src/notifications/operating-payloads.ts'
import * as payloads from '../../src/notifications/payloads.ts'
import * as requestPayloads from '../../src/notifications/request-payloads.ts'
import type { ObjectType } from '../../src/notifications/versioned-object.ts'

export type JsonSchema = z.core.JSONSchema.BaseSchema

interface Versioned {
  readonly name: string
  readonly version: string
}
type PayloadType = ObjectType<string, z.ZodType>

/** Every payload that notifications have, nested ones too. */
const PAYLOADS: readonly PayloadType[] = [payloads, requestPayloads, operatingPayloads].flatMap(
  (module) => Object.values(module) as readonly PayloadType[],
)

/** What stands beside Nova's keys in a payload: no versioned object of Nova's, but with versions like one. */
export const EXTENSION: Versioned = { name: 'SevbusExtension', version: SEVBUS_EXTENSION_VERSION }

/** `FlavorPayload-1.4`: what a version of a payload is called, as a file and in other documents. */
export function payloadId({ name, version }: Versioned): string {
  return `${name}-${version}`
}

/** `FlavorPayload-1`: whatever minor version is the newest; what one payload calls another, as Nova's do. */
export function majorId({ name, version }: Versioned): string {
  return `${name}-${version.split('.')[0]}`
}

/** The formats that the schemas have, for whoever validates by them. */
export const FORMATS = {
  uuid: /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/,
}

/** Its properties are what images say, and so not listed. */
const OPEN_DATA = new Set(['ImageMetaPropsPayload'])

/**
 * A JSON Schema (draft-07) of each payload, of exactly the version that is sent: with all fields of it, and no others.
 * @param uri how one payload is referred to in another
 */
export function payloadSchemas(uri: (of: Versioned) => string): ReadonlyMap<Versioned, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  const byId = new Map(PAYLOADS.map((type) => [payloadId(type), type]))
  const bySchema = new Map<z.core.$ZodType, PayloadType>(PAYLOADS.map((type) => [type.schema, type]))
  for (const type of PAYLOADS) registry.add(type.schema, { id: payloadId(type) })
  const { schemas } = z.toJSONSchema(registry, {
    target: 'draft-7',
    uri: (id) => uri(byId.get(id) as PayloadType),
    override({ zodSchema, jsonSchema }) {
      plainer(jsonSchema)
      const type = bySchema.get(zodSchema)
      if (type !== undefined) seal(jsonSchema, type)
    },
  })
  const extension = z.toJSONSchema(SevbusExtension, {
    target: 'draft-7',
    override: ({ jsonSchema }) => plainer(jsonSchema),
  })
  extension.properties = { ...extension.properties, version: { const: SEVBUS_EXTENSION_VERSION } }
  extension.additionalProperties = false
  return new Map([
    ...PAYLOADS.map((type) => [type, schemas[payloadId(type)] as JsonSchema] as const),
    [EXTENSION, extension],
  ])
}

/** Without what zod adds for itself: patterns as long as a page where the format says it all, bounds of its own numbers. */
export function plainer(schema: JsonSchema): void {
  if (schema.format === 'date-time' || schema.format === 'uuid') delete schema.pattern
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum
}

function seal({ properties = {} }: JsonSchema, type: PayloadType): void {
  properties['nova_object.namespace'] = { const: type.namespace }
  properties['nova_object.version'] = { const: type.version }
  const data = properties['nova_object.data'] as JsonSchema
  data.additionalProperties = OPEN_DATA.has(type.name)
}

/**
 * What is wrong with a payload's schema beside those that are checked in; undefined: nothing. What consumers have built on
 * stays as it is: a new minor version adds fields and keeps the others.
 */
export function refusal(
  { name, version }: Versioned,
  schema: JsonSchema,
  checkedIn: ReadonlyMap<string, JsonSchema>,
): string | undefined {
  const same = checkedIn.get(version)
  if (same !== undefined) {
    return isSame(same, schema) ? undefined : `${name} ${version} has changed: its fields need a new version`
  }
  const [major, minor] = parts(version)
  const older = [...checkedIn.keys()].filter((other) => parts(other)[0] === major && parts(other)[1] < minor)
  const lost = older.flatMap((other) => lostFields(checkedIn.get(other) as JsonSchema, schema))
  if (lost.length > 0) return `${name} ${version} changes ${lost.join(', ')}: that needs a new major version`
  const newer = [...checkedIn.keys()].find(
    (other) => parts(other)[0] > major || (parts(other)[0] === major && parts(other)[1] > minor),
  )
  return newer === undefined ? undefined : `${name} ${version} is older than ${newer}, which was sent already`
}

function lostFields(older: JsonSchema, newer: JsonSchema): string[] {
  const now = fieldsOf(newer)
  return Object.entries(fieldsOf(older))
    .filter(([field, schema]) => field !== 'version' && !isSame(now[field], schema))
    .map(([field]) => field)
}

function fieldsOf({ properties = {} }: JsonSchema): Readonly<Record<string, unknown>> {
  const data = properties['nova_object.data'] as JsonSchema | undefined
  return data?.properties ?? properties
}

function parts(version: string): [number, number] {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return [major, minor]
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
