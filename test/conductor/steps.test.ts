import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { changed, lockInstance } from '../../src/conductor/instance-store.ts'
import { continueBuildMessage } from '../../src/conductor/messages.ts'
import { notesOf } from '../../src/conductor/note-builds.ts'
import { ordersOf } from '../../src/conductor/order-builds.ts'
import { type Step, Steps } from '../../src/conductor/steps.ts'
import type { StoredMessage } from '../../src/rpc/durable-message.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { anInstance } from '../compute/support/instances.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

describe.each(databaseEngines)('steps without locks on $name', (engine) => {
  async function open() {
    const offered: StoredMessage[] = []
    const conductor = await aConductor(engine, async ({ attempt }) => aSelection('h1', attempt))
    const { outbox, database } = conductor.ports
    const steps = new Steps(database, { ...outbox, offer: (messages) => offered.push(...messages) }, conductor.ports)
    const stepOf = async (uuid: string): Promise<Step> => {
      const record = await steps.read(uuid, () => true)
      if (record === undefined) throw new Error(`no ${uuid}`)
      const changes = { host: 'h1', task_state: 'spawning' } as const
      const next = changed(record.instance, changes, new Date())
      const messages = [{ ...continueBuildMessage(conductor.ports, record.context, next), orderingKey: `${uuid}@h1` }]
      return { record, next, outcome: 'spawning', selection: aSelection('h1'), messages }
    }
    return { ...conductor, steps, offered, stepOf }
  }

  it('change an instance, its try and the outbox as one, and take the message for the relay at hand', async () => {
    await using test = await open()
    const { uuid } = await test.accept()
    await test.sent()
    const step = await test.stepOf(uuid)

    expect(await test.steps.make(step)).toBe(true)

    expect(await test.instance(uuid)).toEqual(step.next)
    expect(await test.attempts(uuid)).toEqual([{ attempt: 1, host: 'h1', outcome: 'spawning' }])
    expect(test.offered).toEqual([{ ...step.messages[0], id: expect.any(String), failures: 0 }])
    expect(await test.ports.database.query('select id::text from outbox where not_before > now()')).toEqual(
      test.offered.map(({ id }) => ({ id })),
    )
  })

  it('are not made of an instance that has changed since it was read, and nothing is stored; the others are made', async () => {
    await using test = await open()
    const [one, other] = [await test.accept(), await test.accept()]
    await test.sent()
    const steps = [await test.stepOf(one.uuid), await test.stepOf(other.uuid)] as const
    await test.endpoint.deleteInstance({ instance_uuid: one.uuid }, test.request)
    await test.sent()

    expect(await Promise.all(steps.map((step) => test.steps.make(step)))).toEqual([false, true])

    expect((await test.instance(one.uuid)).vm_state).toBe('deleted')
    expect((await test.instance(other.uuid)).host).toBe('h1')
    expect(test.offered.map(({ orderingKey }) => orderingKey)).toEqual([`${other.uuid}@h1`])
    expect(await test.sent()).toHaveLength(1)
  })

  it('are made once, however often they are asked for', async () => {
    await using test = await open()
    const { uuid } = await test.accept()
    await test.sent()
    const step = await test.stepOf(uuid)

    const made = await Promise.all([test.steps.make(step), test.steps.make(step), test.steps.make(step)])

    expect(made.filter((isMade) => isMade)).toHaveLength(1)
    expect(await test.sent()).toHaveLength(1)
  })

  it('are made of what was written here without reading it, and not if another has changed it since', async () => {
    await using test = await open()
    const beginnings = ['1', '2'].map((digit) => {
      const uuid = `${digit.repeat(8)}-1111-4111-8111-111111111111`
      const instance = { ...anInstance(), uuid, vm_state: 'building', task_state: 'scheduling', host: null } as const
      return { record: { instance, context: test.request.context, batch: null, userDataDigest: null }, messages: [] }
    })
    expect(await Promise.all(beginnings.map((beginning) => test.steps.begin(beginning)))).toEqual([true, true])
    await test.ports.database.query(`update instances set name = 'renamed' where uuid::text like '2%'`)

    const [same, changed] = await Promise.all(beginnings.map(({ record }) => test.stepOf(record.instance.uuid)))

    expect([same?.record.instance, changed?.record.instance]).toEqual(beginnings.map(({ record }) => record.instance))
    expect(await Promise.all([same, changed].map((step) => test.steps.make(step as Step)))).toEqual([true, false])
    const unready = await test.steps.read(beginnings[0]?.record.instance.uuid as string, () => false)
    expect(unready?.instance).toEqual({ ...same?.next, updated_at: expect.any(String) })
  })

  it('leave a message to its turn when an older one of its key waits', async () => {
    await using test = await open()
    const { uuid } = await test.accept()
    await test.sent()
    const step = await test.stepOf(uuid)
    await test.ports.database.transaction(async (tx) => {
      await lockInstance(tx, uuid)
      await test.ports.outbox.enqueue(tx, step.messages)
    })

    expect(await test.steps.make(step)).toBe(true)

    expect(test.offered).toEqual([])
    expect(await test.sent()).toHaveLength(2)
  })

  it('tell schedulers in one message of the guests that run, even of one whose step is not made, and by itself of one that is traced', async () => {
    await using test = await open()
    const accepted = [await test.accept(), await test.accept(), await test.accept()] as const
    await test.sent()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const steps = await Promise.all(accepted.map(({ uuid }) => test.stepOf(uuid)))
    const running = steps.map((step, n) => {
      const context = n === 2 ? { ...step.record.context, traceparent } : step.record.context
      return { ...step, record: { ...step.record, context }, messages: [], isNoted: true }
    })
    await test.ports.database.query(`update instances set name = 'renamed' where uuid = $1`, [accepted[1].uuid])

    const made = await Promise.all(running.map((step) => test.steps.make(step)))

    expect(made).toEqual([true, false, true])
    const build = ({ uuid }: { readonly uuid: string }) => ({ instance_uuid: uuid, attempt: 1, host: 'h1' })
    const builds = expect.toSatisfy((told: readonly { readonly instance_uuid: string }[]) => {
      expect(new Set(told)).toEqual(new Set([build(accepted[0]), build(accepted[1])]))
      return true
    })
    expect((await test.sent()).map(({ what, args }) => ({ what, args }))).toEqual([
      { what: 'note_build', args: { ...build(accepted[2]), failure: null } },
      { what: 'note_builds', args: { builds } },
    ])
    expect(test.offered).toHaveLength(2)
  })

  it('tell schedulers of more guests than one message takes in several', async () => {
    await using test = await open()
    const { context } = test.request
    const running = Array.from({ length: 101 }, () => ({
      record: { context },
      next: { ...anInstance(), uuid: randomUUID(), host: 'h1' },
    }))

    const { each, ofAll } = notesOf(test.ports, running)

    expect(each.flat()).toEqual([])
    const told = ofAll.map(({ body }) => decodeEnvelope(Buffer.from(body), 'application/json').args)
    const builds = running.map(({ next }) => ({ instance_uuid: next.uuid, attempt: next.attempt, host: 'h1' }))
    expect(told).toEqual([{ builds: builds.slice(0, 100) }, { builds: builds.slice(100) }])
  })

  it("leave the uuid that is nobody's to the way with locks: what is about all would be told of it, too", async () => {
    await using test = await open()
    const known = await test.accept()
    await test.sent()
    const { context } = test.request
    const nil = { ...known, uuid: '00000000-0000-0000-0000-000000000000' }
    const beginning = {
      record: { instance: nil, context, batch: null, userDataDigest: null },
      messages: [continueBuildMessage(test.ports, context, nil)],
    }

    expect(await test.steps.begin(beginning)).toBe(false)
    expect(await test.steps.begin(beginning)).toBe(false)

    expect(await test.sent()).toEqual([])
    const instance_uuids = [nil.uuid]
    for (const _ of ['first', 'again']) await test.accept(undefined, { instance_uuids })
    const step = await test.stepOf(nil.uuid)
    await test.sent()
    await test.ports.database.query(`update instances set name = 'renamed' where uuid = $1`, [nil.uuid])
    expect(await test.steps.make(step)).toBe(false)
    expect(await test.sent()).toEqual([])
  })

  it('tell each host in one message of all that it is to build, and of one that is traced by itself', async () => {
    await using test = await open()
    const accepted = [await test.accept(), await test.accept(), await test.accept(), await test.accept()] as const
    await test.sent()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const steps = await Promise.all(accepted.map(({ uuid }) => test.stepOf(uuid)))
    const ordered = steps.map((step, n) => {
      const host = n === 3 ? 'h2' : 'h1'
      const context = n === 2 ? { ...step.record.context, traceparent } : step.record.context
      const next = { ...step.next, host }
      return { ...step, next, record: { ...step.record, context }, messages: [], isOrdered: true }
    })

    const made = await Promise.all(ordered.map((step) => test.steps.make(step)))

    expect(made).toEqual([true, true, true, true])
    const told = (await test.sent()).toSorted((a, b) => (a.to < b.to ? -1 : 1))
    expect(told.map(({ to, what }) => ({ to, what }))).toEqual(
      expect.arrayContaining([
        { to: 'sevbus-compute.h1', what: 'build_and_run_instance' },
        { to: 'sevbus-compute.h1', what: 'build_and_run_instances' },
        { to: 'sevbus-compute.h2', what: 'build_and_run_instance' },
      ]),
    )
    const together = told.find(({ what }) => what === 'build_and_run_instances')?.args as {
      builds: { instance: object }[]
    }
    expect(together).toEqual({ builds: expect.any(Array), reports_to: '_build-reports' })
    expect(together.builds).toHaveLength(2)
    expect(together.builds).toEqual(
      expect.arrayContaining(
        [0, 1].map((n) => ({
          context: ordered[n]?.record.context,
          instance: ordered[n]?.next,
          allocations: ordered[n]?.selection?.allocations,
        })),
      ),
    )
    expect(test.offered).toHaveLength(3)
  })

  it('tell a host in one message of as many as that has bytes for', async () => {
    await using test = await open()
    const { context } = test.request
    // 240 KB of JSON, and twice that in an envelope.
    const properties = Object.fromEntries(Array.from({ length: 240 }, (_, n) => [`os_note_${n}`, '"'.repeat(500)]))
    const image = { ...anInstance().image, properties }
    const ordered = Array.from({ length: 36 }, (_, n) => ({
      record: { context },
      next: { ...anInstance(), uuid: randomUUID(), host: 'h1', ...(n >= 16 && { image }) },
      allocations: [],
    }))

    const { each, ofAll } = ordersOf(test.ports, ordered)

    const uuidsOf = ({ body }: { readonly body: string }) => {
      const { args } = decodeEnvelope(Buffer.from(body), 'application/json')
      return (args as { builds: { instance: { uuid: string } }[] }).builds.map(({ instance }) => instance.uuid)
    }
    const uuids = ordered.map(({ next }) => next.uuid)
    expect(ofAll.map(uuidsOf)).toEqual([
      ...[uuids.slice(0, 16), uuids.slice(16, 24), uuids.slice(24, 32), uuids.slice(32)],
    ])
    expect(each.flat()).toEqual([])
  })

  it('order no guest whose step is not made, and those that came with it each by itself', async () => {
    await using test = await open()
    const accepted = [await test.accept(), await test.accept(), await test.accept()] as const
    await test.sent()
    const steps = await Promise.all(accepted.map(({ uuid }) => test.stepOf(uuid)))
    const ordered = steps.map((step) => ({ ...step, messages: [], isOrdered: true }))
    await test.ports.database.query(`update instances set name = 'renamed' where uuid = $1`, [accepted[1].uuid])

    const made = await Promise.all(ordered.map((step) => test.steps.make(step)))

    expect(made).toEqual([true, false, true])
    const told = (await test.sent()).map(({ to, what, args }) => ({
      to,
      what,
      uuid: (args.instance as { uuid: string }).uuid,
    }))
    expect(told).toHaveLength(2)
    expect(told).toEqual(
      expect.arrayContaining(
        [accepted[0], accepted[2]].map(({ uuid }) => ({
          to: 'sevbus-compute.h1',
          what: 'build_and_run_instance',
          uuid,
        })),
      ),
    )
    expect(await test.attempts(accepted[1].uuid)).toEqual([{ attempt: 1, host: null, outcome: 'scheduling' }])
  })

  it('do not begin an instance whose uuid is there, and begin those that come with it', async () => {
    await using test = await open()
    const known = await test.accept()
    await test.sent()
    const { context } = (await test.steps.read(known.uuid, () => true)) ?? { context: test.request.context }
    const fresh = { ...known, uuid: '11111111-1111-4111-8111-111111111111' }
    const beginnings = [known, fresh].map((instance) => ({
      record: { instance, context, batch: null, userDataDigest: null },
      messages: [continueBuildMessage(test.ports, context, instance)],
    }))

    expect(await Promise.all(beginnings.map((beginning) => test.steps.begin(beginning)))).toEqual([false, true])

    expect(await test.instance(fresh.uuid)).toEqual(fresh)
    expect(await test.attempts(fresh.uuid)).toEqual([{ attempt: 1, host: null, outcome: 'scheduling' }])
    expect(test.offered.map(({ orderingKey }) => orderingKey)).toEqual([fresh.uuid])
  })
})
