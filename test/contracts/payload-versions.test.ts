import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import {
  EXTENSION,
  FORMATS,
  type JsonSchema,
  majorId,
  payloadId,
  payloadSchemas,
  refusal,
} from '../support/payload-schemas.ts'

const FOLDER = 'docs/notifications/schemas'
const SAMPLES = 'docs/notifications'
const schemas = payloadSchemas((payload) => `${majorId(payload)}.json`)

/** What is checked in of a payload, by version. */
function checkedIn(name: string): ReadonlyMap<string, JsonSchema> {
  const versions = files().filter((file) => new RegExp(`^${name}-\\d+\\.\\d+\\.json$`).test(file))
  return new Map(versions.map((file) => [file.slice(name.length + 1, -'.json'.length), read(`${FOLDER}/${file}`)]))
}

function files(): readonly string[] {
  return existsSync(FOLDER) ? readdirSync(FOLDER) : []
}

function read(file: string): JsonSchema {
  return JSON.parse(readFileSync(file, 'utf8'))
}

function write(id: string, schema: JsonSchema): void {
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(`${FOLDER}/${id}.json`, `${JSON.stringify({ ...schema, $id: `${id}.json` }, null, 2)}\n`)
}

const withId = (id: string, schema: JsonSchema): JsonSchema => ({ ...schema, $id: `${id}.json` })

/** Every version, and for each major the newest: what payloads refer each other to. For those who ask after all is written. */
function validator() {
  made ??= readAll()
  return made
}
let made: Ajv | undefined

function readAll() {
  const ajv = new Ajv({ strict: true, allowUnionTypes: true, allErrors: true, formats: FORMATS })
  for (const file of files()) ajv.addSchema(read(`${FOLDER}/${file}`), file)
  return ajv
}

describe('the payloads of notifications', () => {
  it.each([...schemas].map(([payload, schema]) => ({ id: payloadId(payload), payload, schema })))(
    '$id is what docs/notifications/schemas has of it, for ever',
    ({ id, payload, schema }) => {
      const wrong = refusal(payload, withId(id, schema), checkedIn(payload.name))
      expect(wrong).toBeUndefined()
      // Only what is new is written: no option writes over a version that consumers have built on.
      if (process.env.UPDATE_DOCS && !files().includes(`${id}.json`)) write(id, schema)
      if (process.env.UPDATE_DOCS) write(majorId(payload), newest(id))

      expect(read(`${FOLDER}/${id}.json`)).toEqual(withId(id, schema))
      expect(read(`${FOLDER}/${majorId(payload)}.json`)).toEqual(withId(majorId(payload), newest(id)))
    },
  )

  it('are refused when a version changes, when a minor one takes something away, and when one goes back', () => {
    const object = (fields: Record<string, JsonSchema>): JsonSchema => ({
      properties: { 'nova_object.data': { properties: fields } },
    })
    const sent = object({ host: { type: 'string' } })
    const more = object({ host: { type: 'string' }, zone: { type: 'string' } })
    const other = object({ host: { type: 'integer' } })
    const history = new Map([['1.1', sent]])
    const judge = (version: string, schema: JsonSchema) => refusal({ name: 'IpPayload', version }, schema, history)

    expect([judge('1.1', sent), judge('1.2', more), judge('2.0', other)]).toEqual([undefined, undefined, undefined])
    expect([judge('1.1', more), judge('1.2', other), judge('1.2', object({})), judge('1.0', sent)]).toEqual([
      'IpPayload 1.1 has changed: its fields need a new version',
      'IpPayload 1.2 changes host: that needs a new major version',
      'IpPayload 1.2 changes host: that needs a new major version',
      'IpPayload 1.0 is older than 1.1, which was sent already',
    ])
  })

  it.each(readdirSync(SAMPLES).filter((file) => file.endsWith('.json')))('%s is valid by its schemas', (file) => {
    const { payload } = JSON.parse(readFileSync(`${SAMPLES}/${file}`, 'utf8'))
    const ajv = validator()
    const errorsOf = (id: string, value: unknown) => (ajv.validate(`${id}.json`, value) ? [] : ajv.errors)
    const id = payloadId({ name: payload['nova_object.name'], version: payload['nova_object.version'] })

    expect(errorsOf(id, payload)).toEqual([])
    const beside = payload.sevbus
    if (beside) expect(errorsOf(payloadId({ ...EXTENSION, version: beside.version }), beside)).toEqual([])
  })

  it('are not valid with a field that their version does not have, however deep it is', () => {
    const { payload } = JSON.parse(readFileSync(`${SAMPLES}/instance-create-end.json`, 'utf8'))
    payload['nova_object.data'].flavor['nova_object.data'].colour = 'red'
    const ajv = validator()

    expect(ajv.validate('InstanceCreatePayload-1.13.json', payload)).toBe(false)
    expect(ajv.errors?.map(({ params }) => params)).toContainEqual({ additionalProperty: 'colour' })
  })
})

function newest(id: string): JsonSchema {
  return { $schema: 'http://json-schema.org/draft-07/schema#', allOf: [{ $ref: `${id}.json` }] }
}
