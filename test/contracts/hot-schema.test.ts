import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { hot } from '../../src/hot-schema.ts'
import { Notification } from '../../src/notifications/notification.ts'
import { Instance } from '../../src/objects/instance.ts'
import { RequestSpec } from '../../src/objects/request-spec.ts'
import { RequestContext } from '../../src/rpc/request-context.ts'
import { CONTRACT_APIS } from '../support/contract-objects.ts'
import { runs } from '../support/runs.ts'
import { valuesOf } from '../support/values-of-schema.ts'

const schemas: readonly (readonly [string, z.ZodType])[] = [
  ['an instance', Instance],
  ['a notification', Notification],
  ['a request', RequestSpec],
  ['a context', RequestContext],
  ...CONTRACT_APIS.flatMap(({ service, methods }) =>
    Object.values(methods).flatMap(({ wire, input, output }) => [
      [`${service}.${wire}`, input] as const,
      [`the answer of ${service}.${wire}`, output] as const,
    ]),
  ),
]

test('a schema that is asked for often takes and refuses what it did before, with the same words', () => {
  let [taken, refused] = [0, 0]
  for (const [name, schema] of schemas) {
    const values = valuesOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', reused: 'inline' }))
    for (let uses = 0; uses < 20; uses++) hot(schema)
    expect(hot(schema), name).not.toBe(schema)

    fc.assert(
      fc.property(values, (value) => {
        const before = schema.safeParse(value)
        expect(hot(schema).safeParse(value), name).toStrictEqual(before)
        if (before.success) taken++
        else refused++
      }),
      { numRuns: runs(30) },
    )
  }
  expect(taken).toBeGreaterThan(1000)
  expect(refused).toBeGreaterThan(1000)
})
