import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { ComputeApi } from '../../src/compute/rpc-api.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import type { Flavor } from '../../src/objects/flavor.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { silent } from '../support/transports.ts'
import type { OsloBus } from './oslo-bus.ts'

const SETTLE = { timeout: 60_000, interval: 30 }
const HOSTS = ['h1', 'h2']
export const context = { request_id: 'req-1', user_id: 'u-1', project_id: 'p-1' }

/** All workers in one process over the real broker, with two simulated hosts; it tells all that it can. */
export async function openTellingCloud(bus: OsloBus, client: RpcClient, topic: string) {
  const engine = databaseEngines.find(({ name }) => name === 'PostgreSQL')
  if (engine === undefined) throw new Error('PostgreSQL is not among the engines')
  const opened = await engine.open(allMigrations)
  const { database } = opened
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-telling-'))
  const { exchange, topicPrefix: topic_prefix } = bus.names
  const loaded = loadConfig({ env: {} })
  const config = {
    ...loaded,
    transport: { ...loaded.transport, exchange, topic_prefix },
    notifications: {
      ...{ ...loaded.notifications, exchange, topic },
      ...{ notify_on_state_change: 'vm_and_task_state' as const, select_destinations: true },
    },
    scheduler: { ...loaded.scheduler, audit_interval_seconds: 0 },
    compute: { ...loaded.compute, report_interval_seconds: 0.5 },
    fake: { ...loaded.fake, sev_slots: 5 },
  }
  const ports = { connect: () => bus.connect(), folder, logger: silent }
  const cloud = await startLocalCloud({ ...ports, config, database, hosts: HOSTS.map((host) => ({ host, fake: {} })) })
  const conductor = client.of(ConductorApi)
  const scheduler = client.of(SchedulerApi)
  const get = async (instance_uuid: string) => (await conductor.getInstance(context, { instance_uuid })).instance
  await vi.waitFor(
    async () => expect((await scheduler.listHosts(context, {})).hosts).toHaveLength(HOSTS.length),
    SETTLE,
  )

  async function rests(uuid: string, vm_state: Instance['vm_state']): Promise<Instance> {
    return await vi.waitFor(async () => {
      const instance = await get(uuid)
      expect(instance).toMatchObject({ vm_state, task_state: null })
      return instance
    }, SETTLE)
  }

  return {
    conductor,
    scheduler,
    compute: client.of(ComputeApi),
    rests,
    async boot({ flavor = sevFlavor, group }: { readonly flavor?: Flavor; readonly group?: string } = {}) {
      const hints = group === undefined ? {} : { scheduler_hints: { group } }
      const asked = { name: 'web', flavor, image: anImage(), ...hints }
      const { instances } = await conductor.buildInstances(context, asked)
      return instances[0]?.uuid as string
    },
    async remove(uuid: string) {
      await conductor.deleteInstance(context, { instance_uuid: uuid })
      await rests(uuid, 'deleted')
    },
    /** Nothing waits to be sent. */
    async isTold() {
      await vi.waitFor(async () => expect(await database.query('select id from outbox')).toEqual([]), SETTLE)
    },
    async close() {
      await cloud.drain(5000)
      await opened[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
