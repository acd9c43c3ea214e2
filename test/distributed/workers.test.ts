import { describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { onChannel } from '../support/raw-channel.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const SEV_HOST = { SEVBUS_FAKE_SEV_SLOTS: '5', SEVBUS_FAKE_SPAWN_DELAY_MS: '150' }
/** What a killed conductor was just sending is another's after the outbox's lease. */
const SETTLE = { timeout: 60_000, interval: 200 }

async function boot({ conductor }: SevbusClient, name: string, count: number, flavor = sevFlavor): Promise<Instance[]> {
  return (await conductor.buildInstances(context, { name, flavor, image: anImage(), count })).instances
}

/** Waits until no instance is being built, and gives them all. */
async function settled({ conductor }: SevbusClient): Promise<Instance[]> {
  return vi.waitFor(async () => {
    const { instances } = await conductor.listInstances(context, {})
    const building = instances.filter(({ vm_state }) => vm_state === 'building')
    if (building.length > 0) throw new Error(`still building: ${building.map((i) => `${i.name} ${i.task_state}`)}`)
    return instances
  }, SETTLE)
}

const CLAIMED_SLOTS = `allocations where resource_class = 'MEM_ENCRYPTION_CONTEXT'`
const LIVE_ENCRYPTED = `instances where vm_state = 'active' and mem_encryption is not null`

describe('workers in processes of their own, on RabbitMQ and PostgreSQL', () => {
  it('bring every instance to ACTIVE or to ERROR with a reason, though a scheduler is killed meanwhile', async () => {
    await using cloud = await ProcessCloud.open()
    const [, , doomed] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('conductor', 'c2'),
      cloud.worker('scheduler', 's1'),
      cloud.worker('scheduler', 's2'),
      cloud.compute('h1', SEV_HOST),
      cloud.compute('h2', SEV_HOST),
      cloud.compute('h3', { SEVBUS_FAKE_SPAWN_DELAY_MS: '50' }),
    ])
    const client = await cloud.client({ hosts: 3 })

    const accepted = Promise.all([boot(client, 'sev', 12), boot(client, 'plain', 10, plainFlavor)])
    doomed.kill('SIGKILL')
    const [sev, plain] = await accepted
    const instances = await settled(client)

    const states = (wanted: readonly Instance[]) =>
      instances.filter(({ uuid }) => wanted.some((one) => one.uuid === uuid)).map(({ vm_state }) => vm_state)
    expect(states(plain)).toEqual(Array(10).fill('active'))
    expect(states(sev).toSorted()).toEqual([...Array(10).fill('active'), 'error', 'error'])
    for (const { vm_state, fault } of instances) {
      expect(fault?.code).toBe(vm_state === 'error' ? 'NO_VALID_HOST' : undefined)
    }
    await vi.waitFor(async () => expect(await cloud.count(CLAIMED_SLOTS)).toBe(10), SETTLE)
    expect(await cloud.count(LIVE_ENCRYPTED)).toBe(10)
  })

  it('finish or undo what a killed host had begun, and leave it with no more guests than instances', async () => {
    await using cloud = await ProcessCloud.open()
    const slow = { ...SEV_HOST, SEVBUS_FAKE_SPAWN_DELAY_MS: '3000' }
    const [, , host] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', slow),
    ])
    const client = await cloud.client({ hosts: 1 })

    await boot(client, 'sev', 4)
    await vi.waitFor(async () => {
      const { instances } = await client.conductor.listInstances(context, {})
      expect(instances.filter(({ task_state }) => task_state === 'spawning')).toHaveLength(4)
    }, SETTLE)
    host.kill('SIGKILL')
    await host.exited()
    await cloud.compute('h1', slow)
    const instances = await settled(client)

    const { guests } = await client.compute.listGuests(context, {}, { server: 'h1' })
    expect(instances.map(({ vm_state }) => vm_state)).toEqual(['active', 'active', 'active', 'active'])
    expect(guests.map(({ uuid }) => uuid).toSorted()).toEqual(instances.map(({ uuid }) => uuid).toSorted())
    expect(await cloud.count(CLAIMED_SLOTS)).toBe(4)
  })

  it('go on with the builds of a conductor that is killed before it has sent anything of them', async () => {
    await using cloud = await ProcessCloud.open()
    const scheduler = await cloud.worker('scheduler', 's1')
    const [doomed] = await Promise.all([cloud.worker('conductor', 'c1'), cloud.compute('h1', SEV_HOST)])
    const client = await cloud.client({ hosts: 1 })
    scheduler.kill('SIGTERM')
    await scheduler.exited()

    // It goes on by itself with what it has accepted, and asks for a scheduler: killed, it has stored the messages that ask
    // conductors to go on, and has sent none of them.
    for (const name of ['a', 'b', 'c']) await boot(client, name, 1)
    expect(await cloud.count('outbox')).toBeGreaterThanOrEqual(3)
    doomed.kill('SIGKILL')
    await doomed.exited()
    await Promise.all([cloud.worker('conductor', 'c2'), cloud.worker('scheduler', 's2')])

    expect((await settled(client)).map(({ vm_state }) => vm_state)).toEqual(['active', 'active', 'active'])
  })

  it('end what runs when they are told to stop, lose nothing, and exit 0', async () => {
    await using cloud = await ProcessCloud.open()
    const workers = await Promise.all([
      cloud.worker('scheduler', 's1'),
      cloud.worker('conductor', 'c1'),
      cloud.compute('h1', { ...SEV_HOST, SEVBUS_FAKE_SPAWN_DELAY_MS: '3000' }),
    ])
    const client = await cloud.client({ hosts: 1 })
    const [instance] = await boot(client, 'sev', 1)
    await vi.waitFor(async () => {
      const { instances } = await client.conductor.listInstances(context, {})
      expect(instances[0]?.task_state).toBe('spawning')
    }, SETTLE)

    const [scheduler, conductor, host] = workers
    host.kill('SIGTERM')
    expect(await host.exited()).toBe(0)
    await vi.waitFor(async () => {
      const { instance: now } = await client.conductor.getInstance(context, { instance_uuid: instance?.uuid as string })
      expect(now.vm_state).toBe('active')
    }, SETTLE)
    conductor.kill('SIGTERM')
    scheduler.kill('SIGTERM')

    expect(await Promise.all([conductor.exited(), scheduler.exited()])).toEqual([0, 0])
  })

  it('wait for a broker and a database that are not there yet, and say so', async () => {
    await using cloud = await ProcessCloud.open()
    const nowhere = { SEVBUS_TRANSPORT_URL: 'amqp://guest:secret@127.0.0.1:1/' }
    const noDatabase = { SEVBUS_DATABASE_URL: 'postgresql://u:secret@127.0.0.1:1/none' }

    const withoutBroker = cloud.start(['compute', '--host', 'h1'], nowhere)
    const withoutDatabase = cloud.start(['scheduler', '--host', 's1'], noDatabase)
    await withoutBroker.said('127.0.0.1:1')
    await withoutDatabase.said('waiting')

    withoutBroker.kill('SIGTERM')
    withoutDatabase.kill('SIGTERM')
    expect(await Promise.all([withoutBroker.exited(), withoutDatabase.exited()])).toEqual([0, 0])
    expect(withoutBroker.output + withoutDatabase.output).not.toContain('secret')
  })

  it('end with the reason when they are deaf and cannot mend it', async () => {
    await using cloud = await ProcessCloud.open()
    const { SEVBUS_TRANSPORT_TOPIC_PREFIX: prefix, SEVBUS_TRANSPORT_URL: url = '' } = cloud.env
    const worker = await cloud.worker('scheduler', 's1', { SEVBUS_WORKER_SELF_CHECK_SECONDS: '0.2' })
    const queue = `${prefix}scheduler.s1`

    // Otherwise than workers declare it: they are refused (406) as long as it is there. Whoever declares it first has it.
    await vi.waitFor(
      () =>
        onChannel(url, async (channel) => {
          await channel.deleteQueue(queue)
          await channel.assertQueue(queue, { durable: true })
        }),
      SETTLE,
    )
    await worker.said(`"repairs":2`)
    await worker.said('WORKER_DEAF')

    expect(await worker.exited()).toBe(1)
    expect(worker.output).toContain(`scheduler s1 does not get its messages, and 3 new connections did not mend it`)
    expect(worker.output).toContain(`the queue ${queue} is on the broker with x-queue-type none`)
  })
})
