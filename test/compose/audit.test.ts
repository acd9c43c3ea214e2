import { randomUUID } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames } from '../../src/compose/names.ts'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { type FakeVirtDriver, openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import type { AuditReport } from '../../src/objects/audit.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { anInstance } from '../compute/support/instances.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 60_000 }
const never = new AbortController().signal
const HOSTS = ['h1', 'h2'] as const
type HostName = (typeof HOSTS)[number]

/** All workers in one process, and two hosts of four SEV keys whose guests, and whose tables, the test can change. */
async function openCloud(engine: DatabaseEngine) {
  const opened = await engine.open(allMigrations)
  const { database } = opened
  const bus = new MemoryBus()
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-audit-'))
  const loaded = loadConfig({ env: {} })
  const scheduler = { ...loaded.scheduler, down_after_intervals: 1000, audit_interval_seconds: 0 }
  const config = { ...loaded, scheduler }
  const connect = async () => bus.connect()
  const cloud = await startLocalCloud({ config, database, connect, folder, logger: silent, hosts: [] })
  const machines = new Map<HostName, FakeVirtDriver>()
  const workers = new Map<HostName, Awaited<ReturnType<typeof startCompute>>>()
  for (const host of HOSTS) {
    const driver = await openFakeHost({ folder: join(folder, 'guests', host), sev_slots: 4 })
    const compute = { ...loaded.compute, host, state_folder: join(folder, host), report_interval_seconds: 0.05 }
    const transport = bus.connect()
    machines.set(host, driver)
    // What the test does to guests is for the audit to find: nobody else is to tell of it before.
    const ports = { host, transport, logger: silent, driver, guestSettleMs: 600_000 }
    workers.set(host, await startCompute({ ...config, compute }, ports))
  }
  const client = new RpcClient({ transport: bus.connect(), logger: silent, names: busNames(config) })
  onTestFinished(async () => {
    for (const worker of workers.values()) await worker.drain(5000)
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  const conductor = client.of(ConductorApi)
  const get = async (instance_uuid: string) =>
    (await conductor.getInstance(newRequestContext(), { instance_uuid })).instance

  async function boot(): Promise<Instance & { readonly host: HostName }> {
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1 }
    const { instances } = await conductor.buildInstances(newRequestContext(), args)
    const uuid = instances[0]?.uuid ?? ''
    await vi.waitFor(async () => expect((await get(uuid)).vm_state).toBe('active'), SETTLE)
    await allIsTold()
    return (await get(uuid)) as Instance & { readonly host: HostName }
  }

  async function remove(uuid: string): Promise<void> {
    await conductor.deleteInstance(newRequestContext(), { instance_uuid: uuid })
    await vi.waitFor(async () => {
      expect((await get(uuid)).vm_state).toBe('deleted')
      expect(await claimsOf(uuid)).toBe(0)
    }, SETTLE)
    await allIsTold()
  }

  /** Of an instance whose messages wait to be sent an audit says nothing: it is still changing. */
  async function allIsTold(): Promise<void> {
    await vi.waitFor(async () => expect(await database.query('select id from outbox')).toEqual([]), SETTLE)
  }

  async function claimsOf(uuid: string): Promise<number> {
    const rows = await database.query('select from allocations where consumer = $1', [uuid])
    return rows.length
  }

  /** As somebody would who has the hypervisor's own tools. */
  async function start(host: HostName, instance: Instance): Promise<void> {
    const driver = machines.get(host) as FakeVirtDriver
    const domain = buildDomain(guestSpec(instance), await driver.capabilities(never))
    await driver.createDisks(domain, diskContents(instance, domain), never)
    await driver.spawn(domain, never)
  }

  async function audit(
    request: { repair?: boolean; hosts?: string[]; settle_seconds?: number } = {},
  ): Promise<AuditReport> {
    const asked = { settle_seconds: 0.05, ...request }
    return (await client.of(SchedulerApi).audit(newRequestContext(), asked)).report
  }

  await vi.waitFor(async () => {
    const { hosts } = await client.of(SchedulerApi).listHosts(newRequestContext(), {})
    expect(hosts).toHaveLength(HOSTS.length)
  }, SETTLE)
  return {
    database,
    boot,
    remove,
    start,
    audit,
    claimsOf,
    get,
    machine: (host: HostName) => machines.get(host),
    workers,
  }
}

type Cloud = Awaited<ReturnType<typeof openCloud>>

const other = (host: HostName): HostName => (host === 'h1' ? 'h2' : 'h1')

/** A claim as a defect would leave it: around every contract of ours. */
async function claimByHand({ database }: Cloud, uuid: string, host: HostName, attempt = 1): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.query(
      `insert into consumers (uuid, attempt, host, report) values ($1, $3, $2, '{}')
       on conflict (uuid) do update set host = excluded.host, report = excluded.report`,
      [uuid, host, attempt],
    )
    await tx.query(
      `insert into allocations (consumer, provider, resource_class, amount, pinned)
       values ($1, $2, 'VCPU', 1, false), ($1, $2, 'MEMORY_MB', 1056, true), ($1, $2 || '_amd_sev', 'MEM_ENCRYPTION_CONTEXT', 1, false)`,
      [uuid, host],
    )
  })
}

function short({ findings }: AuditReport): readonly string[] {
  return findings.map(({ kind, host, outcome, repair }) => `${kind} ${host} ${outcome} ${repair?.action ?? '-'}`)
}

describe.each(databaseEngines)('an audit of a cloud on $name', (engine) => {
  it('finds nothing in one that was left alone, and says what it compared', async () => {
    const cloud = await openCloud(engine)
    await cloud.boot()
    const gone = await cloud.boot()
    await cloud.remove(gone.uuid)

    expect(await cloud.audit({ repair: true })).toMatchObject({
      compared: { hosts: 2, instances: 1, claims: 1, guests: 1 },
      changing: 0,
      not_judged_total: 0,
      findings: [],
      remaining_total: 0,
      repaired_total: 0,
    })
  })

  it('gives leaked claims back, and the slots can be had again', async () => {
    const cloud = await openCloud(engine)
    const gone = await cloud.boot()
    await cloud.remove(gone.uuid)
    await claimByHand(cloud, gone.uuid, gone.host)
    const nobodys = randomUUID()
    await claimByHand(cloud, nobodys, other(gone.host), 3)

    const dry = await cloud.audit()
    expect(short(dry).toSorted()).toEqual(['leak h1 found release_allocations', 'leak h2 found release_allocations'])
    expect(dry.remaining).toEqual({ leak: 2 })
    expect(await cloud.claimsOf(gone.uuid)).toBe(3)

    const repaired = await cloud.audit({ repair: true })
    expect(short(repaired).toSorted()).toEqual([
      'leak h1 repaired release_allocations',
      'leak h2 repaired release_allocations',
    ])
    expect([repaired.remaining_total, repaired.repaired_total]).toEqual([0, 2])
    expect([await cloud.claimsOf(gone.uuid), await cloud.claimsOf(nobodys)]).toEqual([0, 0])
    expect((await cloud.audit()).findings).toEqual([])
  })

  it('gives back what a move has held since its instance is gone', async () => {
    const cloud = await openCloud(engine)
    const gone = await cloud.boot()
    await cloud.remove(gone.uuid)
    const migration = randomUUID()
    await claimByHand(cloud, migration, gone.host)
    await cloud.database.query(
      `update consumers set instance = $2, migration_type = 'evacuation', migration_status = 'finished' where uuid = $1`,
      [migration, gone.uuid],
    )

    const repaired = await cloud.audit({ repair: true })

    expect(short(repaired)).toEqual([`leak ${gone.host} repaired confirm_move`])
    expect(repaired.findings[0]?.instance_uuid).toBe(gone.uuid)
    expect(await cloud.claimsOf(migration)).toBe(0)
    expect((await cloud.audit()).findings).toEqual([])
  })

  it('has hosts remove disks of instances that are not there any more, and tells of those that nobody knows', async () => {
    const cloud = await openCloud(engine)
    const gone = await cloud.boot()
    await cloud.remove(gone.uuid)
    const nobodys = anInstance({ uuid: randomUUID() })
    for (const instance of [gone, nobodys]) {
      await cloud.start(gone.host, instance)
      await cloud.machine(gone.host)?.destroy(instance.uuid)
    }

    const repaired = await cloud.audit({ repair: true })

    expect(short(repaired).toSorted()).toEqual([
      `stray_disks ${gone.host} found -`,
      `stray_disks ${gone.host} repaired remove_stray_disks`,
    ])
    expect(cloud.machine(gone.host)?.disks()).toEqual([nobodys.uuid])
  })

  it('has hosts remove ghosts and doubles, and gives back what a ghost has claimed', async () => {
    const cloud = await openCloud(engine)
    const living = await cloud.boot()
    const dead = await cloud.boot()
    await cloud.remove(dead.uuid)
    await cloud.start(dead.host, dead)
    await claimByHand(cloud, dead.uuid, dead.host)
    await cloud.start(other(living.host), living)

    expect(short(await cloud.audit()).toSorted()).toEqual(
      [
        `double ${other(living.host)} found terminate_instance`,
        `ghost ${dead.host} found terminate_instance`,
      ].toSorted(),
    )
    const repaired = await cloud.audit({ repair: true })

    expect(short(repaired)).toEqual([
      `double ${other(living.host)} repaired terminate_instance`,
      `ghost ${dead.host} repaired terminate_instance`,
      `leak ${dead.host} repaired release_allocations`,
    ])
    expect(await cloud.machine(living.host)?.guests(never)).toContainEqual({ uuid: living.uuid, state: 'running' })
    expect(await cloud.machine(other(living.host))?.guests(never)).not.toContainEqual(
      expect.objectContaining({ uuid: living.uuid }),
    )
    expect(await cloud.get(living.uuid)).toEqual(living)
    expect((await cloud.audit()).findings).toEqual([])
  })

  it('names foreign guests, missing ones and stray keys, and touches none of them', async () => {
    const cloud = await openCloud(engine)
    const lost = await cloud.boot()
    await cloud.machine(lost.host)?.destroy(lost.uuid)
    const foreign = anInstance({ model: 'amd-sev' })
    await cloud.start(lost.host, foreign)
    cloud.machine(other(lost.host))?.reconfigure({ stray_keys: { sev: 1 } })

    const report = await cloud.audit({ repair: true })

    expect(short(report)).toEqual([
      `missing_guest ${lost.host} found -`,
      `key_count ${other(lost.host)} found -`,
      `foreign_guest ${lost.host} found -`,
    ])
    expect(report.remaining_total).toBe(3)
    expect(report.findings[0]).toMatchObject({
      instance_uuid: lost.uuid,
      instance_name: 'web',
      advice: expect.any(String),
    })
    expect(report.findings[1]?.numbers).toEqual({ counted: 1, guests: 0, capacity: 4 })
    expect(await cloud.machine(lost.host)?.guests(never)).toEqual([{ uuid: foreign.uuid, state: 'running' }])
    expect(await cloud.claimsOf(lost.uuid)).toBe(4)
  })

  it('judges nothing of a host that does not answer, and says so', async () => {
    const cloud = await openCloud(engine)
    await claimByHand(cloud, randomUUID(), 'h1')
    await claimByHand(cloud, randomUUID(), 'h2')
    await cloud.workers.get('h2')?.drain(0)

    const report = await cloud.audit({ repair: true })

    expect(short(report)).toEqual(['leak h1 repaired release_allocations'])
    expect(report.not_judged).toEqual([{ what: 'h2', reason: expect.any(String) }])
    expect(report.compared.hosts).toBe(1)
  })

  it('looks at the hosts that it is told, and at others only for what it must know of these', async () => {
    const cloud = await openCloud(engine)
    const living = await cloud.boot()
    await cloud.start(other(living.host), living)
    await claimByHand(cloud, randomUUID(), living.host)

    const report = await cloud.audit({ hosts: [other(living.host)] })

    expect(short(report)).toEqual([`double ${other(living.host)} found terminate_instance`])
  })

  it('finds nothing in a cloud where much is built and deleted at the time', async () => {
    const cloud = await openCloud(engine)
    for (const host of HOSTS) cloud.machine(host)?.reconfigure({ spawn_delay_ms: 20 })
    let isOver = false
    const churn = Promise.all(
      Array.from({ length: 3 }, async () => {
        while (!isOver) await cloud.remove((await cloud.boot()).uuid)
      }),
    )

    const reports: AuditReport[] = []
    // A release waits in the scheduler's queue for longer than a moment when the machine is busy.
    for (let n = 0; n < 10; n++) reports.push(await cloud.audit({ repair: true, settle_seconds: 1 }))
    isOver = true
    await churn

    expect(reports.flatMap(({ findings }) => findings)).toEqual([])
    expect(reports.some(({ changing }) => changing > 0)).toBe(true)
  })
})
