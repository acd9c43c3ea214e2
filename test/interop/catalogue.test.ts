import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import '../servers/provided-context.ts'
import { type Consumption, consumeNotifications, type Gap } from '../../src/notification-consumer.ts'
import type { AnyNotification } from '../../src/notifications/notification.ts'
import { onChannel } from '../support/raw-channel.ts'
import { aFlavor } from '../support/requests.ts'
import { eventually, OsloBus, TOPOLOGIES } from './oslo-bus.ts'
import { canRunPeers, PythonPeer } from './python-peer.ts'
import { context, openTellingCloud } from './telling-cloud.ts'

const [quorum] = TOPOLOGIES
const PRIORITIES = ['info', 'error'] as const

/** Whatever a small cloud tells in a day, but for what takes an audit period. */
const KINDS = [
  ...(['service.create', 'service.update', 'compute.exception'] as const),
  ...['create', 'add_host', 'update_metadata', 'remove_host', 'delete'].flatMap((action) => [
    `aggregate.${action}.start`,
    `aggregate.${action}.end`,
  ]),
  ...(['server_group.create', 'server_group.add_member', 'server_group.delete'] as const),
  ...(['scheduler.select_destinations.start', 'scheduler.select_destinations.end'] as const),
  ...(['compute_task.build_instances.error', 'instance.update', 'slot.claimed', 'slot.released'] as const),
  ...[
    ...['create', 'power_off', 'power_on', 'pause', 'unpause', 'reboot', 'delete'],
    ...['resize_prep', 'resize', 'resize_finish', 'resize_confirm'],
  ].flatMap((action) => [`instance.${action}.start`, `instance.${action}.end`]),
]

type Cloud = Awaited<ReturnType<typeof openTellingCloud>>

/** What operators and users do in a day. */
async function aDayIn({ conductor, scheduler, compute, boot, rests, remove }: Cloud): Promise<void> {
  await scheduler.setHost(context, { host: 'h2', disabled: true, disabled_reason: 'new memory' })
  await scheduler.createAggregate(context, { name: 'gold', metadata: { ssd: 'true' }, hosts: ['h1'] })
  await scheduler.setAggregate(context, { name: 'gold', metadata: { rack: '7' } })
  await scheduler.removeHostFromAggregate(context, { name: 'gold', host: 'h1' })
  await scheduler.deleteAggregate(context, { name: 'gold' })
  const asked = { name: 'db', policy: 'soft-affinity', rules: {} } as const
  const { server_group } = await scheduler.createServerGroup(context, asked)

  await rests(await boot({ flavor: aFlavor({}, { vcpus: 4096 }) }), 'error')
  const uuid = await boot({ group: server_group.uuid })
  await rests(uuid, 'active')
  const instance_uuid = uuid
  await conductor.pauseInstance(context, { instance_uuid })
  await rests(uuid, 'paused')
  await conductor.unpauseInstance(context, { instance_uuid })
  await rests(uuid, 'active')
  await conductor.rebootInstance(context, { instance_uuid, reboot_type: 'HARD' })
  await rests(uuid, 'active')
  await conductor.stopInstance(context, { instance_uuid, clean_shutdown: true })
  await rests(uuid, 'stopped')
  await conductor.startInstance(context, { instance_uuid })
  await rests(uuid, 'active')
  await scheduler.setHost(context, { host: 'h2', disabled: false })
  await conductor.migrateInstance(context, { instance_uuid })
  await rests(uuid, 'resized')
  await conductor.confirmResize(context, { instance_uuid })
  await rests(uuid, 'active')
  const nobody = { instance_uuid: '00000000-0000-4000-8000-000000000000' }
  await compute.getConsoleOutput(context, nobody, { server: 'h1' }).catch(() => {})
  await remove(uuid)
  await scheduler.deleteServerGroup(context, { uuid: server_group.uuid })
}

describe('the notifications of a cloud', () => {
  const bus = new OsloBus(quorum as (typeof TOPOLOGIES)[number])
  const topic = `${bus.names.exchange}-notifications`
  const pool = `${topic}-billing`
  const seen: AnyNotification[] = []
  let listener: PythonPeer | undefined
  let cloud: Cloud
  beforeAll(async () => {
    bus.peerNotifies(topic, PRIORITIES)
    bus.peerNotifies(topic, PRIORITIES, pool)
    const { exchange } = bus.names
    if (canRunPeers()) {
      listener = await PythonPeer.start('listener.py')
      await listener.do('start', { url: bus.url(), exchange, topic, listener: topic, priorities: PRIORITIES })
    }
    await bus.consume({
      topic,
      pool: `${topic}-ours`,
      payload: 'any',
      priorities: PRIORITIES,
      onNotification: async (notification) => void seen.push(notification),
    })
    const { client } = await bus.client()
    cloud = await openTellingCloud(bus, client, topic)
  })
  afterAll(async () => {
    await cloud?.close()
    await listener?.do('stop', { exchange: bus.names.exchange })
    await listener?.end()
    await bus[Symbol.asyncDispose]()
  })

  it('of a day have every kind, and a Python listener reads them as we do', async () => {
    await aDayIn(cloud)
    await cloud.isTold()

    await eventually(() => expect(kindsOf(seen)).toEqual(expect.arrayContaining(KINDS)))
    if (listener === undefined) return
    const byId = (all: readonly (readonly [unknown, object])[]) => Object.fromEntries(all)
    const ours = byId(
      seen.map(({ message_id, publisher_id, event_type, priority, payload, timestamp, ...rest }) => [
        message_id,
        { publisher_id, event_type, priority, payload, timestamp, request_id: rest._context_request_id },
      ]),
    )
    await listener.eventually((told) => {
      const theirs = told.flatMap(({ publisher_id, event_type, priority, payload, metadata, ctxt }) => {
        if (metadata === undefined) return []
        const { message_id, timestamp } = metadata as { message_id: string; timestamp: string }
        const { request_id } = ctxt as { request_id: string }
        const facts = {
          publisher_id,
          event_type,
          priority: String(priority).toUpperCase(),
          payload,
          timestamp,
          request_id,
        }
        return [[message_id, facts] as const]
      })
      expect(byId(theirs)).toEqual(ours)
    })
  })

  it('come in sequence to who begins in the middle, and to whom one is lost', async () => {
    const positions = join(await mkdtemp(join(tmpdir(), 'sevbus-positions-')), 'positions')
    const handled: { readonly sequence: number; readonly event: string; readonly id: string }[] = []
    const lost: Gap[] = []
    const uuid = await cloud.boot()
    await cloud.rests(uuid, 'active')
    await cloud.isTold()
    const consume = (): Promise<Consumption> =>
      consumeNotifications({
        ...{ url: bus.url(), topology: 'quorum', exchange: bus.names.exchange, topic, pool, priorities: PRIORITIES },
        inSequence: { positions, busNames: bus.names, onLost: async (gap) => void lost.push(gap) },
        async onNotification({ message_id: id, event_type: event, payload }) {
          const { uuid: ofInstance, instance_uuid = ofInstance } = payload['nova_object.data']
          const sequence = payload.sevbus?.sequence
          if (instance_uuid === uuid && sequence !== undefined) handled.push({ sequence, event, id })
        },
      })
    const events = () => handled.map(({ event }) => event)

    // Its queue was not there when the instance was booted.
    const first = await consume()
    await cloud.conductor.stopInstance(context, { instance_uuid: uuid, clean_shutdown: true })
    await eventually(() => expect(events()).toContain('instance.power_off.end'))
    await first.close()
    const before = handled.length
    expect(events().slice(0, 4)).toEqual([
      'instance.update',
      'instance.update',
      'slot.claimed',
      'instance.create.start',
    ])

    // Somebody takes the next one out of its queue while it is away.
    await cloud.conductor.startInstance(context, { instance_uuid: uuid })
    await cloud.rests(uuid, 'active')
    await cloud.isTold()
    expect(await takenFrom(pool)).toBeGreaterThan(0)
    await cloud.remove(uuid)
    const second = await consume()
    await eventually(() => expect(events().at(-1)).toBe('slot.released'))
    await second.close()

    expect(events().slice(before)).toEqual([
      ...['instance.update', 'instance.power_on.start', 'instance.update', 'instance.power_on.end'],
      ...['instance.update', 'instance.delete.start', 'instance.update', 'instance.delete.end', 'slot.released'],
    ])
    expect(handled.map(({ sequence }) => sequence)).toEqual(handled.map((_, n) => n + 1))
    expect(new Set(handled.map(({ id }) => id)).size).toBe(handled.length)
    expect(lost).toEqual([])
  })
})

function kindsOf(seen: readonly AnyNotification[]): readonly string[] {
  return [...new Set(seen.map(({ event_type }) => String(event_type)))].toSorted()
}

/** Takes the oldest notification of an instance out of a queue, for ever. @returns how many were taken */
async function takenFrom(queue: string): Promise<number> {
  return await onChannel(inject('amqpUrl'), async (channel) => {
    const message = await channel.get(queue)
    if (message === false) return 0
    channel.ack(message)
    return message.content.includes('power_on') || message.content.includes('instance.update') ? 1 : 0
  })
}
