import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { VERSION } from '../../src/cli/version.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { asyncApi } from '../support/asyncapi.ts'
import { CONTRACT_APIS, CONTRACT_OBJECTS, STRICT_OBJECTS } from '../support/contract-objects.ts'
import { refsIn } from '../support/contract-schemas.ts'
import { FORMATS } from '../support/payload-schemas.ts'
import { anImage, sevFlavor } from '../support/requests.ts'

const document = asyncApi({ version: VERSION, apis: CONTRACT_APIS, objects: CONTRACT_OBJECTS, strict: STRICT_OBJECTS })

/** AsyncAPI's own schema of its documents, as the initiative publishes it. */
function official() {
  // It brings the meta-schema of draft-07 along.
  const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false, validateFormats: false })
  const require = createRequire(import.meta.url)
  return ajv.compile(require('@asyncapi/specs/schemas/3.0.0.json'))
}

function at(pointer: string): unknown {
  const steps = pointer.replace(/^#\//, '').split('/')
  return steps.reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], document)
}

/** What is said, by the schema of its message: `conductor.get_instance.request`. */
function errorsOf(schema: string, said: unknown) {
  const ajv = new Ajv({ strict: false, formats: { ...FORMATS, base64: true } })
  ajv.addSchema(document, 'asyncapi')
  return ajv.validate({ $ref: `asyncapi#/components/schemas/${schema}` }, said) ? [] : ajv.errors
}

const said = (body: string) => JSON.parse(JSON.parse(body)['oslo.message'])

describe('docs/asyncapi.yaml', () => {
  it('is what contracts and payloads say', () => {
    const page = stringify(document, { lineWidth: 120, aliasDuplicateObjects: false })
    if (process.env.UPDATE_DOCS) writeFileSync('docs/asyncapi.yaml', page)

    expect(readFileSync('docs/asyncapi.yaml', 'utf8')).toBe(page)
  })

  it('is valid by the schema of AsyncAPI 3, which refuses what is not', () => {
    const validate = official()

    expect([validate(document), validate.errors]).toEqual([true, null])
    expect(validate({ ...document, operations: { boot: { action: 'shout' } } })).toBe(false)
  })

  it('refers to nothing that is not in it', () => {
    const refs = [...new Set(refsIn(document))]

    expect(refs.length).toBeGreaterThan(100)
    expect(refs.filter((ref) => at(ref) === undefined)).toEqual([])
  })

  it('has every method, and a reply for each that has one', () => {
    const methods = CONTRACT_APIS.flatMap(({ service, methods }) =>
      Object.values(methods).map(({ wire, kind }) => [`${service}.${wire}`, kind === 'call'] as const),
    )
    const operations = document.operations as Record<string, { action: string; reply?: object }>
    const received = Object.entries(operations).filter(([, { action }]) => action === 'receive')

    expect(received.map(([name, { reply }]) => [name, reply !== undefined])).toEqual(methods)
  })

  it('describes requests as a client writes them, and refuses those with arguments that nobody takes', () => {
    const request = (args: object) => {
      const reply = { msgId: 'm', queue: 'reply_1', monitorSeconds: undefined }
      const draft = { method: 'build_instances', namespace: undefined, version: '1.0', context: newRequestContext() }
      return said(encodeRequest({ ...draft, args, reply }))
    }
    const args = { name: 'web', flavor: sevFlavor, image: anImage() }

    expect(errorsOf('conductor.build_instances.request', request(args))).toEqual([])
    expect(errorsOf('conductor.build_instances.request', request({ ...args, colour: 'red' }))).toMatchObject([
      { keyword: 'additionalProperties', params: { additionalProperty: 'colour' } },
    ])
  })

  it('describes notifications as the samples have them', () => {
    const sample = JSON.parse(readFileSync('docs/notifications/instance-create-end.json', 'utf8'))
    const sent = { ...sample, message_id: '4f1c4a16-6d1e-4f58-8a4c-0c3c4f6f1f4e' }

    expect(errorsOf('instance.create.end.notification', sent)).toEqual([])
    expect(errorsOf('instance.create.error.notification', sent)).not.toEqual([])
  })
})
