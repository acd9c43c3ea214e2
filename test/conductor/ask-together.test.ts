import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { askingTogether } from '../../src/conductor/ask-together.ts'
import {
  InternalError,
  InvalidArguments,
  MessagingTimeout,
  NoValidHost,
  RemoteError,
  UnsupportedVersion,
} from '../../src/errors.ts'
import type { RequestSpec } from '../../src/objects/request-spec.ts'
import { encodeEnvelope } from '../../src/rpc/envelope.ts'
import { newRequestContext, type RequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { selectMany } from '../../src/scheduler/select-many.ts'
import { aRequestSpec } from '../scheduler/builders.ts'
import { aSelection } from './conductor-harness.ts'

const { signal } = new AbortController()
const logger = pino({ level: 'silent' })
const { input, output } = SchedulerApi.methods.selectDestinationsOfMany

/** A scheduler that says how it was asked; what goes to it and comes back is as on the bus. */
function open(choose: (spec: RequestSpec, context: RequestContext) => Promise<ReturnType<typeof aSelection>>) {
  const asked: (string | readonly string[])[] = []
  const scheduler = {
    trouble: undefined as Error | undefined,
    selectDestinations: async (context: RequestContext, args: { request_spec: unknown }) => {
      const spec = args.request_spec as RequestSpec
      asked.push(spec.instance_uuid)
      return { selection: await choose(spec, context) }
    },
    selectDestinationsOfMany: async (context: RequestContext, args: { requests: unknown }) => {
      encodeEnvelope({ args })
      const { requests } = input.parse(JSON.parse(JSON.stringify(args)))
      asked.push(requests.map(({ request_spec }) => request_spec.instance_uuid))
      if (scheduler.trouble !== undefined) throw scheduler.trouble
      const select = async ({ request_spec }: { request_spec: RequestSpec }, its: { context: RequestContext }) => ({
        selection: await choose(request_spec, its.context),
      })
      const answered = await selectMany(requests, { context, signal }, select, logger)
      return output.parse(JSON.parse(JSON.stringify(answered)))
    },
  }
  return { asked, scheduler, ask: askingTogether(scheduler) }
}

const specs = (count: number) =>
  Array.from({ length: count }, () => ({ ...aRequestSpec(), instance_uuid: randomUUID() }))

/** 240 KB of JSON, and twice that in an envelope. */
const MANY_PROPERTIES = Object.fromEntries(Array.from({ length: 240 }, (_, n) => [`os_note_${n}`, '"'.repeat(500)]))

describe('builds that ask for a host', () => {
  it('ask in one call where they ask at a time, and each is answered by itself and under its own request', async () => {
    const contexts = specs(3).map(() => newRequestContext())
    const { ask, asked } = open(async ({ instance_uuid }, { request_id }) => {
      if (request_id === contexts[1]?.request_id) throw new NoValidHost('no host', { report: { of: instance_uuid } })
      return aSelection(`host-of-${request_id}`)
    })
    const [one, two, three] = specs(3) as [RequestSpec, RequestSpec, RequestSpec]

    const answers = await Promise.allSettled(
      [one, two, three].map((spec, n) => ask(contexts[n] as RequestContext, spec, signal)),
    )

    expect(asked).toEqual([[one, two, three].map(({ instance_uuid }) => instance_uuid)])
    expect(answers).toEqual([
      { status: 'fulfilled', value: aSelection(`host-of-${contexts[0]?.request_id}`) },
      { status: 'rejected', reason: new NoValidHost('no host', { report: { of: two.instance_uuid } }) },
      { status: 'fulfilled', value: aSelection(`host-of-${contexts[2]?.request_id}`) },
    ])
    expect((answers[1] as PromiseRejectedResult).reason.details).toEqual({ report: { of: two.instance_uuid } })
  })

  it('ask alone when nobody else asks, and of a move and of what is traced by themselves', async () => {
    const { ask, asked } = open(async () => aSelection('h1'))
    const [lone, moving, traced] = specs(3) as [RequestSpec, RequestSpec, RequestSpec]
    const migration = { uuid: randomUUID(), type: 'evacuation', source_host: 'h0' } as const
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

    await ask(newRequestContext(), lone, signal)
    await Promise.all([
      ask(newRequestContext(), { ...moving, migration } as RequestSpec, signal),
      ask(newRequestContext({ traceparent }), traced, signal),
    ])

    expect(asked).toEqual([lone, moving, traced].map(({ instance_uuid }) => instance_uuid))
  })

  it('ask one by one of a scheduler that does not know the question, and do not try it again with each', async () => {
    const { ask, asked, scheduler } = open(async () => aSelection('h1'))
    scheduler.trouble = new UnsupportedVersion('Endpoint does not support RPC version 1.10')
    const [first, second] = [specs(2), specs(2)]
    const uuids = (some: readonly RequestSpec[]) => some.map(({ instance_uuid }) => instance_uuid)

    for (const some of [first, second]) {
      const answers = await Promise.all(some.map((spec) => ask(newRequestContext(), spec, signal)))
      expect(answers).toEqual([aSelection('h1'), aSelection('h1')])
    }

    expect(asked).toEqual([uuids(first), ...uuids(first), ...uuids(second)])
  })

  it.each([
    new InvalidArguments('requests.1.request_spec.flavor.vcpus: too big'),
    new InternalError('select_destinations_of_many gave a result that its contract does not have'),
    new RemoteError('scheduler.select_destinations_of_many gave a result that its contract does not have'),
  ])('are asked for one by one where all are refused with $code, which may be for the sake of one', async (refusal) => {
    const { ask, asked, scheduler } = open(async () => aSelection('h1'))
    scheduler.trouble = refusal
    const [some, later] = [specs(2), specs(2)]
    const uuids = (of: readonly RequestSpec[]) => of.map(({ instance_uuid }) => instance_uuid)

    for (const each of [some, later])
      expect(await Promise.all(each.map((spec) => ask(newRequestContext(), spec, signal)))).toEqual([
        aSelection('h1'),
        aSelection('h1'),
      ])

    expect(asked).toEqual([uuids(some), ...uuids(some), uuids(later), ...uuids(later)])
  })

  it('are asked as many in a call as one message has bytes for', async () => {
    const { ask, asked } = open(async ({ instance_uuid }) => aSelection(`host-of-${instance_uuid}`))
    const large = specs(16).map((spec) => ({ ...spec, image: { ...spec.image, properties: MANY_PROPERTIES } }))

    const answers = await Promise.all(large.map((spec) => ask(newRequestContext(), spec, signal)))

    expect(answers).toEqual(large.map(({ instance_uuid }) => aSelection(`host-of-${instance_uuid}`)))
    expect(asked.map((uuids) => uuids.length)).toEqual([8, 8])
  })

  it('are asked for one by one where what one of them has goes into no message', async () => {
    const { ask, asked } = open(async () => aSelection('h1'))
    const [odd, other] = specs(2) as [RequestSpec, RequestSpec]
    const unwritable = { ...odd, flavor: { ...odd.flavor, vcpus: Number.NaN } }

    await Promise.all([unwritable, other].map((spec) => ask(newRequestContext(), spec, signal)))

    expect(asked).toEqual([odd.instance_uuid, other.instance_uuid])
  })

  it('all fail with a scheduler that does not answer, and are asked at most sixteen in a call', async () => {
    const { ask, asked, scheduler } = open(async () => aSelection('h1'))
    scheduler.trouble = new MessagingTimeout('no sign of life')

    const answers = await Promise.allSettled(specs(18).map((spec) => ask(newRequestContext(), spec, signal)))

    expect(asked.map((uuids) => uuids.length)).toEqual([16, 2])
    expect(new Set(answers.map((answer) => (answer as PromiseRejectedResult).reason))).toEqual(
      new Set([scheduler.trouble]),
    )
  })
})
