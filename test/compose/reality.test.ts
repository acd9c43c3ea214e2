import { mkdtempSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames, notificationNames } from '../../src/compose/names.ts'
import { type FakeVirtDriver, openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 30_000, interval: 50 }
const never = new AbortController().signal

/** All workers in one process, and one simulated host whose guests the test can reach behind their back. */
async function openCloud() {
  const [engine] = databaseEngines
  if (engine === undefined) throw new Error('there is no database to test with')
  const opened = await engine.open(allMigrations)
  const { database } = opened
  const bus = new MemoryBus()
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-reality-'))
  const loaded = loadConfig({ env: {} })
  const config = { ...loaded, scheduler: { ...loaded.scheduler, audit_interval_seconds: 0 } }
  const cloud = await startLocalCloud({
    config,
    database,
    connect: async () => bus.connect(),
    folder,
    logger: silent,
    hosts: [],
  })
  const transport = bus.connect()
  const events: string[] = []
  const billing = new NotificationConsumer({
    transport,
    logger: silent,
    names: notificationNames(config),
    onNotification: async ({ event_type, payload }) => {
      events.push(`${event_type} ${payload['nova_object.data'].uuid}`)
    },
  })
  await billing.start()
  const client = new RpcClient({ transport, logger: silent, names: busNames(config) })
  const conductor = client.of(ConductorApi)
  const scheduler = client.of(SchedulerApi)
  const context = newRequestContext()
  let machine: FakeVirtDriver | undefined
  let worker: Awaited<ReturnType<typeof startCompute>> | undefined
  const state_folder = join(folder, 'h1')
  const off = async () => {
    await worker?.drain(5000)
    worker = undefined
  }
  onTestFinished(async () => {
    await billing.close()
    await off()
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  const get = async (instance_uuid: string) => (await conductor.getInstance(context, { instance_uuid })).instance
  return {
    conductor,
    context,
    events,
    state_folder,
    off,
    host: () => machine as FakeVirtDriver,
    async on(options: { resume_guests_state_on_host_boot?: boolean } = {}): Promise<void> {
      machine = await openFakeHost({ folder: join(folder, 'guests'), sev_slots: 6 })
      const compute = { ...loaded.compute, host: 'h1', state_folder, report_interval_seconds: 0.2, ...options }
      const ports = { host: 'h1', transport: bus.connect(), logger: silent, driver: machine, guestSettleMs: 20 }
      worker = await startCompute({ ...config, compute }, ports)
      const { hosts } = await vi.waitFor(async () => {
        const found = await scheduler.listHosts(context, { hosts: ['h1'] })
        expect(found.hosts).toHaveLength(1)
        return found
      }, SETTLE)
      expect(hosts[0]?.host).toBe('h1')
    },
    /** While no worker has the host. */
    async endGuest(uuid: string): Promise<void> {
      const host = await openFakeHost({ folder: join(folder, 'guests') })
      await host.powerOff(uuid)
      await host.close()
    },
    async boot(count: number): Promise<string[]> {
      const args = { name: 'web', flavor: sevFlavor, image: anImage(), count }
      const { instances } = await conductor.buildInstances(context, args)
      const uuids = instances.map(({ uuid }) => uuid)
      for (const uuid of uuids) {
        await vi.waitFor(async () => expect((await get(uuid)).vm_state).toBe('active'), SETTLE)
      }
      return uuids
    },
    becomes: (uuid: string, vm_state: string) =>
      vi.waitFor(async () => expect(await get(uuid)).toMatchObject({ vm_state, task_state: null, host: 'h1' }), SETTLE),
    get,
    guest: async (uuid: string) => (await machine?.guest(uuid, never))?.state,
    async slots() {
      const { hosts } = await scheduler.listHosts(context, {})
      return hosts[0]?.providers.find(({ model }) => model === 'amd-sev')?.inventories.MEM_ENCRYPTION_CONTEXT?.used
    },
    async audit() {
      const { report } = await scheduler.audit(context, { settle_seconds: 0.05 })
      return report.findings.map(({ kind, problem }) => `${kind}: ${problem}`)
    },
  }
}

describe('a control plane that follows reality', () => {
  it('lets instances follow guests that die, are started, or vanish behind its back, and keeps their slots', async () => {
    const cloud = await openCloud()
    await cloud.on()
    const [dies, started, vanishes, lives] = (await cloud.boot(4)) as [string, string, string, string]
    await cloud.conductor.stopInstance(cloud.context, { instance_uuid: started })
    await cloud.becomes(started, 'stopped')
    const before = cloud.events.length

    await cloud.host().powerOff(dies)
    await cloud.host().destroy(vanishes)
    await cloud.host().startDefined(started, never)

    await cloud.becomes(dies, 'stopped')
    await cloud.becomes(vanishes, 'error')
    await vi.waitFor(async () => expect(await cloud.guest(started)).toBe('shutoff'), SETTLE)
    await cloud.becomes(started, 'stopped')
    await vi.waitFor(() => {
      const told = new Set(cloud.events.slice(before))
      expect(told).toEqual(
        new Set([
          ...[dies, started].flatMap((uuid) => [`instance.power_off.start ${uuid}`, `instance.power_off.end ${uuid}`]),
          ...[`instance.power_off.start ${vanishes}`, `instance.power_off.error ${vanishes}`],
        ]),
      )
    }, SETTLE)
    expect((await cloud.get(vanishes)).fault).toMatchObject({ code: 'GUEST_NOT_FOUND' })
    expect([await cloud.slots(), (await cloud.get(lives)).vm_state]).toEqual([4, 'active'])

    await cloud.conductor.startInstance(cloud.context, { instance_uuid: dies })
    await cloud.conductor.rebootInstance(cloud.context, { instance_uuid: vanishes, reboot_type: 'HARD' })

    await cloud.becomes(dies, 'active')
    await cloud.becomes(vanishes, 'active')
    expect(await cloud.audit()).toEqual([])
  }, 120_000)

  it('sees what happened while the worker was away, and starts what ran when its host has booted, if that is wanted', async () => {
    const cloud = await openCloud()
    await cloud.on()
    const [dies, runs] = (await cloud.boot(2)) as [string, string]
    await cloud.off()
    await cloud.endGuest(dies)
    await cloud.on()
    await cloud.becomes(dies, 'stopped')

    await cloud.off()
    await cloud.endGuest(runs)
    await writeFile(join(cloud.state_folder, 'boot_id'), 'another boot\n')
    await cloud.on({ resume_guests_state_on_host_boot: true })

    await vi.waitFor(() => expect(cloud.events).toContain(`instance.reboot.end ${runs}`), SETTLE)
    await cloud.becomes(runs, 'active')
    expect([await cloud.guest(runs), await cloud.guest(dies)]).toEqual(['running', 'shutoff'])
    expect([await cloud.slots(), await cloud.audit()]).toEqual([2, []])
  }, 120_000)
})
