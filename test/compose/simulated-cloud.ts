import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames, notificationNames } from '../../src/compose/names.ts'
import type { FakeHostOptions } from '../../src/compute/fake/fake-host-options.ts'
import { type FakeVirtDriver, openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import type { Notification } from '../../src/notifications/notification.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 60_000, interval: 50 }
const never = new AbortController().signal

/** All workers in one process, and simulated hosts that the test can reach behind their back. */
export async function openSimulatedCloud() {
  const [engine] = databaseEngines
  if (engine === undefined) throw new Error('there is no database to test with')
  const opened = await engine.open(allMigrations)
  const { database } = opened
  const bus = new MemoryBus()
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-simulated-'))
  const loaded = loadConfig({ env: {} })
  // Hosts die when the test says so.
  const scheduler = { ...loaded.scheduler, down_after_intervals: 1000, audit_interval_seconds: 0 }
  const config = { ...loaded, scheduler }
  const connect = async () => bus.connect()
  const cloud = await startLocalCloud({ config, database, connect, folder, logger: silent, hosts: [] })
  const transport = bus.connect()
  const events: string[] = []
  const notifications: Notification[] = []
  const billing = new NotificationConsumer({
    transport,
    logger: silent,
    names: notificationNames(config),
    onNotification: async (notification) => {
      const { event_type, payload } = notification
      notifications.push(notification)
      // A host that has come is no event of an instance.
      if (event_type.startsWith('service.')) return
      events.push(`${event_type} ${payload['nova_object.data'].uuid}`)
    },
  })
  await billing.start()
  const client = new RpcClient({ transport, logger: silent, names: busNames(config) })
  const conductor = client.of(ConductorApi)
  const operator = client.of(SchedulerApi)
  const context = newRequestContext()
  const machines = new Map<string, FakeVirtDriver>()
  const workers = new Map<string, Awaited<ReturnType<typeof startCompute>>>()
  const guestsOf = (host: string) => join(folder, 'guests', host)
  const stateFolder = (host: string) => join(folder, host)

  const get = async (instance_uuid: string) => (await conductor.getInstance(context, { instance_uuid })).instance
  const machine = (host: string) => machines.get(host) as FakeVirtDriver
  const hosts = async () => (await operator.listHosts(context, {})).hosts
  const seen = (host: string, expected: object) =>
    vi.waitFor(async () => expect((await hosts()).find((each) => each.host === host)).toMatchObject(expected), SETTLE)

  async function on(
    host: string,
    fake: FakeHostOptions = {},
    more: Partial<Config['compute']> = {},
    patience: { readonly silentAfterMs?: number } = {},
  ): Promise<void> {
    const driver = await openFakeHost({ folder: guestsOf(host), sev_slots: 6, ...fake })
    machines.set(host, driver)
    const compute = { ...loaded.compute, host, state_folder: stateFolder(host), report_interval_seconds: 0.2, ...more }
    const ports = { host, transport: bus.connect(), logger: silent, driver, guestSettleMs: 20, ...patience }
    workers.set(host, await startCompute({ ...config, compute }, ports))
    await seen(host, { host })
  }

  async function off(host: string, graceMs = 5000): Promise<void> {
    await workers.get(host)?.drain(graceMs)
    workers.delete(host)
  }

  onTestFinished(async () => {
    await billing.close()
    for (const host of [...workers.keys()]) await off(host)
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  return {
    conductor,
    operator,
    context,
    events,
    /** All that is told, as it is. */
    notifications,
    stateFolder,
    on,
    off,
    machine,
    seen,
    get,
    /** While no worker has the host. */
    async endGuest(host: string, uuid: string): Promise<void> {
      const driver = await openFakeHost({ folder: guestsOf(host) })
      await driver.powerOff(uuid)
      await driver.close()
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
    becomes: (uuid: string, vm_state: string, more: object = {}) =>
      vi.waitFor(async () => expect(await get(uuid)).toMatchObject({ vm_state, task_state: null, ...more }), SETTLE),
    guest: async (host: string, uuid: string) => (await machine(host).guest(uuid, never))?.state,
    guests: async (host: string) => (await machine(host).guests(never)).map(({ uuid }) => uuid),
    isEncrypted: async (host: string, uuid: string) =>
      (await machine(host).domainXml(uuid, never)).includes('<launchSecurity') &&
      (await machine(host).launch(uuid, never)).isEncrypted,
    instances: async () => (await conductor.listInstances(context, { limit: 1000 })).instances,
    /** Encryption slots in use, by host. */
    async slots(): Promise<Readonly<Record<string, number | undefined>>> {
      const use = (await hosts()).map(({ host, providers }) => {
        const pool = providers.find(({ model }) => model === 'amd-sev')
        return [host, pool?.inventories.MEM_ENCRYPTION_CONTEXT?.used] as const
      })
      return Object.fromEntries(use)
    },
    async audit() {
      const { report } = await operator.audit(context, { settle_seconds: 0.1 })
      return [...report.findings.map(({ kind, problem }) => `${kind}: ${problem}`), ...report.not_judged]
    },
  }
}
