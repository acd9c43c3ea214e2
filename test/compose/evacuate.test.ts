import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames, notificationNames } from '../../src/compose/names.ts'
import type { FakeHostOptions } from '../../src/compute/fake/fake-host-options.ts'
import { type FakeVirtDriver, openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 20_000 }
const never = new AbortController().signal

/** All workers in one process. A host can be switched off, with its guests on its disk, and on again. */
async function openCloud(engine: DatabaseEngine) {
  const opened = await engine.open(allMigrations)
  const { database } = opened
  const bus = new MemoryBus()
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-evacuate-'))
  const loaded = loadConfig({ env: {} })
  const scheduler = { ...loaded.scheduler, down_after_intervals: 1000, audit_interval_seconds: 0 }
  const config = { ...loaded, scheduler }
  const connect = async () => bus.connect()
  const cloud = await startLocalCloud({ config, database, connect, folder, logger: silent, hosts: [] })
  const machines = new Map<string, FakeVirtDriver>()
  const workers = new Map<string, Awaited<ReturnType<typeof startCompute>>>()
  const events: string[] = []
  const transport = bus.connect()
  const billing = new NotificationConsumer({
    transport,
    logger: silent,
    names: notificationNames(config),
    onNotification: async ({ event_type, publisher_id }) => {
      // A host that has come is no event of an instance.
      if (!event_type.startsWith('service.')) events.push(`${event_type} ${publisher_id}`)
    },
  })
  await billing.start()
  const client = new RpcClient({ transport, logger: silent, names: busNames(config) })
  onTestFinished(async () => {
    await billing.close()
    for (const worker of workers.values()) await worker.drain(5000)
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  const conductor = client.of(ConductorApi)
  const operator = client.of(SchedulerApi)
  const context = newRequestContext()
  const get = async (instance_uuid: string) => (await conductor.getInstance(context, { instance_uuid })).instance

  async function on(host: string, fake: Partial<FakeHostOptions> = {}): Promise<void> {
    const driver = await openFakeHost({ folder: join(folder, 'guests', host), sev_slots: 4, ...fake })
    const compute = { ...loaded.compute, host, state_folder: join(folder, host), report_interval_seconds: 0.05 }
    machines.set(host, driver)
    workers.set(
      host,
      await startCompute({ ...config, compute }, { host, transport: bus.connect(), logger: silent, driver }),
    )
    await vi.waitFor(
      async () => expect((await operator.listHosts(context, { hosts: [host] })).hosts).toHaveLength(1),
      SETTLE,
    )
  }

  /** It is gone, and somebody says so. */
  async function off(host: string): Promise<void> {
    await workers.get(host)?.drain(0)
    workers.delete(host)
    await operator.setHost(context, { host, forced_down: true })
  }

  async function rests(uuid: string) {
    await vi.waitFor(async () => expect((await get(uuid)).task_state).toBeNull(), SETTLE)
    return get(uuid)
  }

  async function boot(flavor: typeof sevFlavor | typeof plainFlavor = sevFlavor) {
    const args = { name: 'web', flavor, image: anImage(), count: 1 }
    const { instances } = await conductor.buildInstances(context, args)
    return rests(instances[0]?.uuid ?? '')
  }

  async function evacuate(instance_uuid: string, host?: string) {
    await conductor.evacuateInstance(context, { instance_uuid, ...(host && { host }) })
    return rests(instance_uuid)
  }

  async function migrate(instance_uuid: string) {
    await conductor.migrateInstance(context, { instance_uuid })
    return rests(instance_uuid)
  }

  async function liveMigrate(instance_uuid: string) {
    await conductor.liveMigrateInstance(context, { instance_uuid })
    return rests(instance_uuid)
  }

  async function decide(instance_uuid: string, what: 'confirmResize' | 'revertResize') {
    await conductor[what](context, { instance_uuid })
    return rests(instance_uuid)
  }

  /** Encryption slots in use, by host. */
  async function slots(): Promise<Readonly<Record<string, number | undefined>>> {
    const { hosts } = await operator.listHosts(context, {})
    const use = hosts.map(({ host, providers }) => {
      const pool = providers.find(({ model }) => model === 'amd-sev')
      return [host, pool?.inventories.MEM_ENCRYPTION_CONTEXT?.used] as const
    })
    return Object.fromEntries(use)
  }

  return {
    on,
    off,
    get,
    boot,
    evacuate,
    migrate,
    liveMigrate,
    fail: (host: string, fail_migration: boolean) => machines.get(host)?.reconfigure({ fail_migration }),
    /** What is claimed of a host's CPUs. */
    async vcpus() {
      const { hosts } = await operator.listHosts(context, {})
      const use = hosts.map(({ host, providers }) => [host, providers[0]?.inventories.VCPU?.used])
      return Object.fromEntries(use)
    },
    decide,
    slots,
    events,
    rests,
    remove: (instance_uuid: string) => conductor.deleteInstance(context, { instance_uuid }),
    explain: (instance_uuid: string) => conductor.explainInstance(context, { instance_uuid }),
    set: (host: string, settings: object) => operator.setHost(context, { host, ...settings }),
    guests: async (host: string) => (await machines.get(host)?.guests(never))?.map(({ uuid }) => uuid),
    slotsBecome: (expected: object) => vi.waitFor(async () => expect(await slots()).toEqual(expected), SETTLE),
    async audit() {
      const { report } = await operator.audit(context, { settle_seconds: 0.05 })
      return report.findings.map(({ kind, host, problem }) => `${kind} on ${host}: ${problem}`)
    },
  }
}

describe.each(databaseEngines)('a cold migration on $name', (engine) => {
  it('holds slots on both hosts until it is decided, both ways, and the audit finds nothing at any rest', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2')

    expect(await cloud.migrate(uuid)).toMatchObject({ vm_state: 'resized', host: 'h2', attempt: 2 })
    await cloud.slotsBecome({ h1: 1, h2: 1 })
    expect(await cloud.audit()).toEqual([])
    expect(await cloud.decide(uuid, 'revertResize')).toMatchObject({ vm_state: 'active', host: 'h1', attempt: 1 })
    await cloud.slotsBecome({ h1: 1, h2: 0 })
    expect([await cloud.guests('h1'), await cloud.guests('h2'), await cloud.audit()]).toEqual([[uuid], [], []])

    await cloud.migrate(uuid)
    const moved = await cloud.decide(uuid, 'confirmResize')

    expect(moved).toMatchObject({ vm_state: 'active', host: 'h2', attempt: 3, mem_encryption: { model: 'amd-sev' } })
    await cloud.slotsBecome({ h1: 0, h2: 1 })
    expect([await cloud.guests('h1'), await cloud.guests('h2'), await cloud.audit()]).toEqual([[], [uuid], []])
    const there = ['exists', 'resize_prep.start', 'resize_prep.end']
    const out = ['resize.start', 'resize.end']
    await vi.waitFor(() => expect(cloud.events).toContain('instance.resize_confirm.end nova-compute:h1'), SETTLE)
    const told = cloud.events.filter((event) => !event.startsWith('slot.'))
    expect(told.slice(2)).toEqual([
      ...[...there.map((event) => `instance.${event} nova-compute:h2`)],
      ...[...out.map((event) => `instance.${event} nova-compute:h1`)],
      'instance.resize_finish.start nova-compute:h2',
      'instance.resize_finish.end nova-compute:h2',
      'instance.exists nova-compute:h2',
      'instance.resize_revert.start nova-compute:h1',
      'instance.resize_revert.end nova-compute:h1',
      ...[...there.map((event) => `instance.${event} nova-compute:h2`)],
      ...[...out.map((event) => `instance.${event} nova-compute:h1`)],
      'instance.resize_finish.start nova-compute:h2',
      'instance.resize_finish.end nova-compute:h2',
      'instance.resize_confirm.start nova-compute:h1',
      'instance.resize_confirm.end nova-compute:h1',
    ])
  })
})

describe.each(databaseEngines)('a live migration on $name', (engine) => {
  it('leaves one guest, one claim and nothing to find, whether it comes to its end or not; what is encrypted stays', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid, launched_at } = await cloud.boot(plainFlavor)
    const encrypted = await cloud.boot()
    await cloud.on('h2')
    const places = async () => [await cloud.guests('h1'), await cloud.guests('h2')]
    const before = await cloud.vcpus()
    const eachOn = { h1: before.h1 / 2, h2: before.h1 / 2 }

    cloud.fail('h1', true)
    const stayed = await cloud.liveMigrate(uuid)
    expect(stayed).toMatchObject({ host: 'h1', attempt: 1, fault: { code: 'MIGRATION_ERROR' } })
    await vi.waitFor(async () => expect(await cloud.vcpus()).toEqual({ ...before, h2: 0 }), SETTLE)
    expect([await places(), await cloud.audit()]).toEqual([[[uuid, encrypted.uuid], []], []])
    await expect(cloud.liveMigrate(encrypted.uuid)).rejects.toThrow(
      expect.objectContaining({ code: 'OPERATION_NOT_SUPPORTED_FOR_SEV' }),
    )

    cloud.fail('h1', false)
    const moved = await cloud.liveMigrate(uuid)
    expect(moved).toMatchObject({ vm_state: 'active', host: 'h2', attempt: 3, launched_at, fault: null })
    await vi.waitFor(async () => expect(await cloud.vcpus()).toEqual(eachOn), SETTLE)
    expect([await places(), await cloud.audit()]).toEqual([[[encrypted.uuid], [uuid]], []])
    const ofBoth = (event: string) => [`instance.${event} nova-compute:h1`, `instance.${event}_dest nova-compute:h2`]
    const phases = (events: readonly string[], phase: string) => events.map((event) => event.replace(' ', `.${phase} `))
    const pre = ['instance.live_migration_pre nova-compute:h2']
    const rolledBack = ofBoth('live_migration_rollback')
    const arrived = ofBoth('live_migration_post')
    const last = 'instance.live_migration_post.end nova-compute:h1'
    await vi.waitFor(() => expect(cloud.events).toContain(last), SETTLE)
    expect(cloud.events.filter((event) => event.includes('live_migration'))).toEqual([
      ...[...phases(pre, 'start'), ...phases(pre, 'end')],
      ...[...phases(rolledBack, 'start'), ...phases(rolledBack, 'end')],
      ...[...phases(pre, 'start'), ...phases(pre, 'end')],
      ...[...phases(arrived, 'start'), ...phases(arrived.toReversed(), 'end')],
    ])
  })
})

describe.each(databaseEngines)('the evacuation of a dead host on $name', (engine) => {
  it('brings its instance up elsewhere, and the slot stays until the host is back and rid of the guest', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2')
    await cloud.off('h1')

    const moved = await cloud.evacuate(uuid)

    expect(moved).toMatchObject({ vm_state: 'active', host: 'h2', attempt: 2, mem_encryption: { model: 'amd-sev' } })
    await cloud.slotsBecome({ h1: 1, h2: 1 })
    expect([await cloud.guests('h2'), await cloud.audit()]).toEqual([[uuid], []])

    await cloud.on('h1')
    await cloud.slotsBecome({ h1: 0, h2: 1 })
    expect([await cloud.guests('h1'), await cloud.guests('h2')]).toEqual([[], [uuid]])
    expect(await cloud.audit()).toEqual([])
    expect(await cloud.get(uuid)).toEqual(moved)
    await vi.waitFor(() => expect(cloud.events).toHaveLength(9), SETTLE)
    expect(cloud.events).toEqual([
      'slot.claimed nova-conductor:local',
      'instance.create.start nova-compute:h1',
      'instance.create.end nova-compute:h1',
      'instance.evacuate nova-api:local',
      'instance.exists nova-compute:h2',
      'slot.claimed nova-conductor:local',
      'instance.rebuild.start nova-compute:h2',
      'instance.rebuild.end nova-compute:h2',
      'slot.released nova-conductor:local',
    ])
    const { attempts, migrations } = await cloud.explain(uuid)
    expect(attempts.map(({ host, outcome }) => `${outcome} on ${host}`)).toEqual(['evacuated on h1', 'active on h2'])
    expect(migrations?.map(({ status }) => status)).toEqual(['completed'])
  })

  it('gives the slot back when the host is fenced, and rids it of the guest whenever it comes back', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2')
    await cloud.off('h1')
    await cloud.evacuate(uuid)

    await cloud.slotsBecome({ h1: 1, h2: 1 })
    await cloud.set('h1', { fenced: true })
    await cloud.slotsBecome({ h1: 0, h2: 1 })
    expect(await cloud.audit()).toEqual([])

    await cloud.on('h1')
    await vi.waitFor(async () => expect(await cloud.guests('h1')).toEqual([]), SETTLE)
    await cloud.set('h1', { forced_down: false })
    expect(await cloud.slots()).toEqual({ h1: 0, h2: 1 })
    await vi.waitFor(async () => expect((await cloud.explain(uuid)).migrations?.[0]?.status).toBe('completed'), SETTLE)
    expect(await cloud.audit()).toEqual([])
  })

  it('without room elsewhere leaves the instance where it is, says why, and works when there is room', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const before = await cloud.boot()
    const { uuid } = before
    await cloud.on('h2', { sev_slots: 0 })
    await cloud.off('h1')

    const stayed = await cloud.evacuate(uuid)

    expect(stayed).toMatchObject({ vm_state: 'active', host: 'h1', attempt: 1, fault: { code: 'NO_VALID_HOST' } })
    const { attempts } = await cloud.explain(uuid)
    const reasons = attempts.at(-1)?.report?.rejections.map(({ host, filter, reason }) => [host, filter, reason])
    expect(reasons?.find(([host]) => host === 'h1')?.[1]).toBe('ComputeFilter')
    expect(reasons?.find(([host]) => host === 'h2')?.[1]).toBe('MemEncryptionModel')
    await cloud.slotsBecome({ h1: 1, h2: undefined })

    await cloud.on('h3')
    expect(await cloud.evacuate(uuid, 'h3')).toMatchObject({ vm_state: 'active', host: 'h3', attempt: 3, fault: null })
    await cloud.on('h1')
    await cloud.slotsBecome({ h1: 0, h2: undefined, h3: 1 })
    expect([await cloud.guests('h1'), await cloud.audit()]).toEqual([[], []])
  })

  it('goes on from the host that dies next, and each of them is rid of its guest', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2')
    await cloud.off('h1')
    await cloud.evacuate(uuid)
    await cloud.on('h3')
    await cloud.off('h2')

    expect(await cloud.evacuate(uuid)).toMatchObject({ vm_state: 'active', host: 'h3', attempt: 3 })
    await cloud.slotsBecome({ h1: 1, h2: 1, h3: 1 })

    await cloud.on('h1')
    await cloud.slotsBecome({ h1: 0, h2: 1, h3: 1 })
    await cloud.on('h2')
    await cloud.slotsBecome({ h1: 0, h2: 0, h3: 1 })
    expect([await cloud.guests('h1'), await cloud.guests('h2'), await cloud.guests('h3')]).toEqual([[], [], [uuid]])
    expect(await cloud.audit()).toEqual([])
  })

  it('keeps the slot on the dead host though the instance is deleted meanwhile', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2')
    await cloud.off('h1')
    await cloud.evacuate(uuid)

    await cloud.remove(uuid)
    await cloud.slotsBecome({ h1: 1, h2: 0 })
    expect((await cloud.rests(uuid)).vm_state).toBe('deleted')

    await cloud.on('h1')
    await cloud.slotsBecome({ h1: 0, h2: 0 })
    expect([await cloud.guests('h1'), await cloud.audit()]).toEqual([[], []])
  })

  it('tries another host when the first cannot build it', async () => {
    const cloud = await openCloud(engine)
    await cloud.on('h1')
    const { uuid } = await cloud.boot()
    await cloud.on('h2', { spawn_delay_ms: 1500, fail_spawn: 1 })
    await cloud.off('h1')

    const evacuated = cloud.evacuate(uuid)
    await vi.waitFor(async () => expect((await cloud.get(uuid)).task_state).toBe('rebuild_spawning'), SETTLE)
    await cloud.on('h3')

    expect(await evacuated).toMatchObject({ vm_state: 'active', host: 'h3', attempt: 3 })
    await cloud.slotsBecome({ h1: 1, h2: 0, h3: 1 })
    expect(await cloud.audit()).toEqual([])
  })
})
