import { describe, expect, it } from 'vitest'
import { DatabaseOutbox } from '../../src/database/outbox.ts'
import { InstanceEvents } from '../../src/notifications/instance-events.ts'
import { DEFAULT_NOTIFICATION_NAMES } from '../../src/notifications/notification.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const AT = '2026-01-01T00:02:00.000Z'
const FAULT = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: AT }

describe.each(databaseEngines)('the notifications of an instance, on $name', (engine) => {
  it('are numbered without gaps in the order of what they tell, whoever they speak for', async () => {
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection(`h${attempt}`, attempt))
    const { endpoint, request } = cloud
    const { uuid: instance_uuid } = await cloud.accept()
    const other = await cloud.accept()
    const report = (attempt: number, outcome: object) =>
      endpoint.reportBuild({ instance_uuid, attempt, host: `h${attempt}`, outcome } as never, request)

    await endpoint.continueBuild({ instance_uuid, attempt: 1 }, request)
    await endpoint.continueBuild({ instance_uuid: other.uuid, attempt: 1 }, request)
    await report(1, { result: 'failed', fault: FAULT, retryable: true })
    await endpoint.continueBuild({ instance_uuid, attempt: 2 }, request)
    await report(2, { result: 'active', launched_at: AT })
    // Told again, of a try that is over, and refused: nothing that is told, and no number that is taken.
    await report(2, { result: 'active', launched_at: AT })
    await report(1, { result: 'active', launched_at: AT })
    await expect(endpoint.suspendInstance({ instance_uuid }, request)).rejects.toThrow('not supported')
    await endpoint.stopInstance({ instance_uuid, clean_shutdown: true }, request)
    const done = { result: 'done' } as const
    await endpoint.reportAction({ instance_uuid, attempt: 2, host: 'h2', number: 1, outcome: done }, request)
    for (const _ of [1, 2]) await endpoint.deleteInstance({ instance_uuid }, request)
    const byDeleter = { ...request, context: { ...request.context, user_id: 'deleter' } }
    await endpoint.reportTerminated({ instance_uuid, attempt: 2, host: 'h2', terminated_at: AT }, byDeleter)

    const events = (await cloud.sent()).filter(({ args }) => 'sevbus' in args)
    const told = events.map(({ what, args }) => {
      const { sequence } = args.sevbus as { sequence: number }
      const { uuid, instance_uuid: slotOf, host } = args['nova_object.data'] as Record<string, unknown>
      return [(uuid ?? slotOf) === instance_uuid ? 'it' : 'other', sequence, what, host]
    })
    expect(told).toEqual([
      ['it', 1, 'slot.claimed', 'h1'],
      ['it', 2, 'instance.create.start', 'h1'],
      ['other', 1, 'slot.claimed', 'h1'],
      ['other', 2, 'instance.create.start', 'h1'],
      ['it', 3, 'instance.create.error', 'h1'],
      ['it', 4, 'slot.released', 'h1'],
      ['it', 5, 'slot.claimed', 'h2'],
      ['it', 6, 'instance.create.start', 'h2'],
      ['it', 7, 'instance.create.end', 'h2'],
      ['it', 8, 'instance.power_off.start', 'h2'],
      ['it', 9, 'instance.power_off.end', 'h2'],
      ['it', 10, 'instance.delete.start', 'h2'],
      ['it', 11, 'instance.delete.end', 'h2'],
      ['it', 12, 'slot.released', 'h2'],
    ])
    const ended = events.find(({ what }) => what === 'instance.delete.end')
    expect(ended?.args['nova_object.data']).toMatchObject({
      action_initiator_user: 'deleter',
      terminated_at: AT.replace('.000', ''),
    })
  })

  it('have updates among them where they are asked for, each before what follows from it', async () => {
    const events = new InstanceEvents(DEFAULT_NOTIFICATION_NAMES, 'nova-conductor:test', {
      notifyOnStateChange: 'vm_and_task_state',
    })
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection(`h${attempt}`, attempt), { events })
    const { endpoint, request } = cloud
    const { uuid: instance_uuid } = await cloud.accept()
    const outcome = { result: 'active', launched_at: AT } as const

    await endpoint.continueBuild({ instance_uuid, attempt: 1 }, request)
    await endpoint.reportBuild({ instance_uuid, attempt: 1, host: 'h1', outcome }, request)
    await endpoint.stopInstance({ instance_uuid, clean_shutdown: true }, request)
    const done = { result: 'done' } as const
    await endpoint.reportAction({ instance_uuid, attempt: 1, host: 'h1', number: 1, outcome: done }, request)
    for (const _ of [1, 2]) await endpoint.deleteInstance({ instance_uuid }, request)
    await endpoint.reportTerminated({ instance_uuid, attempt: 1, host: 'h1', terminated_at: AT }, request)

    const told = (await cloud.sent()).flatMap(({ what, args }) => {
      if (!('sevbus' in args)) return []
      const { sequence } = args.sevbus as { sequence: number }
      const { state_update: update, host } = args['nova_object.data'] as Record<string, never>
      const states = update && Object.values(update['nova_object.data'] as object)
      return [[sequence, what, ...(states ? [states, host] : [])]]
    })
    expect(told).toEqual([
      [1, 'instance.update', [null, 'building', null, 'scheduling'], null],
      [2, 'instance.update', ['building', 'building', 'scheduling', 'spawning'], 'h1'],
      [3, 'slot.claimed'],
      [4, 'instance.create.start'],
      [5, 'instance.update', ['building', 'active', 'spawning', null], 'h1'],
      [6, 'instance.create.end'],
      [7, 'instance.update', ['active', 'active', null, 'powering-off'], 'h1'],
      [8, 'instance.power_off.start'],
      [9, 'instance.update', ['active', 'stopped', 'powering-off', null], 'h1'],
      [10, 'instance.power_off.end'],
      [11, 'instance.update', ['stopped', 'stopped', null, 'deleting'], 'h1'],
      [12, 'instance.delete.start'],
      [13, 'instance.update', ['stopped', 'deleted', 'deleting', null], 'h1'],
      [14, 'instance.delete.end'],
      [15, 'slot.released'],
    ])
  })

  it('are told in the name of the API where an instance is on no host, as Nova does', async () => {
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection(`h${attempt}`, attempt))
    const { uuid: instance_uuid } = await cloud.accept()

    await cloud.endpoint.deleteInstance({ instance_uuid }, cloud.request)

    const waiting = await cloud.ports.database.query<{ body: string }>(
      `select body from outbox where ordering_key like '%/events' order by id`,
    )
    const told = waiting.map(({ body }) => decodeEnvelope(Buffer.from(body), 'application/json'))
    expect(told.map(({ event_type, publisher_id }) => `${event_type} ${publisher_id}`)).toEqual([
      'instance.delete.start nova-api:test',
      'instance.delete.end nova-api:test',
    ])
  })

  it('are told once more to who misses some, with the same ids, sent or not; not those that are forgotten', async () => {
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection(`h${attempt}`, attempt))
    const { endpoint, request, ports } = cloud
    const store = new DatabaseOutbox(ports.database, { owner: 'conductor' })
    const { uuid: instance_uuid } = await cloud.accept()
    await endpoint.continueBuild({ instance_uuid, attempt: 1 }, request)
    const outcome = { result: 'active', launched_at: AT } as const
    await endpoint.reportBuild({ instance_uuid, attempt: 1, host: 'h1', outcome }, request)
    await endpoint.deleteInstance({ instance_uuid }, request)
    const replay = async (changes: object = {}) => {
      const asked = { instance_uuid, from: 1, to: 100, limit: 100, resend: false, ...changes }
      const { events, last_sequence } = await endpoint.replayEvents(asked, request)
      const told = events.map(({ sequence, notification }) => [
        sequence,
        notification.event_type,
        notification.message_id,
      ])
      return { told, last_sequence }
    }

    const unknown = 'aaaaaaaa-0000-4000-8000-000000000001'
    const last = async () =>
      (await endpoint.listLastEvents({ instance_uuids: [instance_uuid.toUpperCase(), unknown] }, request)).last_events

    const unsent = await replay()
    const lastUnsent = await last()
    const waiting = await ports.database.query<{ id: string }>('select id::text from outbox')
    await store.sent(waiting.map(({ id }) => id))
    const sent = await replay()
    const lastSent = await last()
    const part = await replay({ from: 2, to: 2, resend: true })
    const again = await cloud.sent()
    const forgotten = await store.forgetSent(0)

    expect(unsent.told.map(([sequence, event]) => [sequence, event])).toEqual([
      [1, 'slot.claimed'],
      [2, 'instance.create.start'],
      [3, 'instance.create.end'],
      [4, 'instance.delete.start'],
    ])
    expect(sent).toEqual(unsent)
    expect(part).toEqual({ told: [unsent.told[1]], last_sequence: 4 })
    expect(again.map(({ to, what, args }) => [to, what, args.sevbus])).toEqual([
      ['versioned_notifications.info', 'instance.create.start', expect.objectContaining({ sequence: 2 })],
    ])
    expect(forgotten).toBe(4)
    expect(await replay()).toEqual({ told: [], last_sequence: 4 })
    expect(await replay({ instance_uuid: unknown })).toEqual({ told: [], last_sequence: 0 })
    const asLast = { instance_uuid: instance_uuid.toUpperCase(), sequence: 4, message_id: unsent.told.at(-1)?.[2] }
    expect([lastUnsent, lastSent]).toEqual([[asLast], [asLast]])
    expect(await last()).toEqual([{ ...asLast, message_id: null }])
  })
})
