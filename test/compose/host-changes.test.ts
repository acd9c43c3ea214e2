import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames } from '../../src/compose/names.ts'
import type { FakeHostOptions } from '../../src/compute/fake/fake-host-options.ts'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { silent } from '../support/transports.ts'

const SETTLE = { timeout: 20_000 }
const IMAGE = anImage({ hw_firmware_type: 'uefi', hw_machine_type: 'q35' })

/** All workers in one process, and one host whose machine the test can change under its worker. */
async function openCloud(machine: FakeHostOptions, options: Partial<Config['compute']> = {}) {
  const [pglite] = databaseEngines as [DatabaseEngine]
  const opened = await pglite.open(allMigrations)
  const bus = new MemoryBus()
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-changes-'))
  const loaded = loadConfig({ env: {}, host: 'h1' })
  const compute = { ...loaded.compute, ...options, state_folder: join(folder, 'h1'), report_interval_seconds: 0.05 }
  // The host reports often so that the test is quick, not so that it counts as down when this process is busy.
  const config = { ...loaded, compute, scheduler: { ...loaded.scheduler, down_after_intervals: 1000 } }
  const connect = async () => bus.connect()
  const common = { config, database: opened.database, connect, folder, logger: silent }
  const cloud = await startLocalCloud({ ...common, hosts: [] })
  const host = await openFakeHost({ folder: join(folder, 'guests'), ...machine })
  const worker = await startCompute(config, { host: 'h1', transport: bus.connect(), logger: silent, driver: host })
  const client = new RpcClient({ transport: bus.connect(), logger: silent, names: busNames(config) })
  onTestFinished(async () => {
    await worker.drain(5000)
    await cloud.drain(5000)
    await client.close()
    await opened[Symbol.asyncDispose]()
  })
  const conductor = client.of(ConductorApi)
  const stateOf = async (instance_uuid: string) =>
    (await conductor.explainInstance(newRequestContext(), { instance_uuid })).instance.vm_state

  /** Boots a guest, and tells its end: `active`, or why h1 did not take it. */
  async function boot(model: MemEncryptionModel): Promise<{ readonly uuid: string; readonly end: string }> {
    const flavor = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': model })
    const image = model === 'amd-sev-snp' ? anImage({ ...IMAGE.properties, hw_firmware_stateless: true }) : IMAGE
    const { instances } = await conductor.buildInstances(newRequestContext(), { name: model, flavor, image, count: 1 })
    const uuid = instances[0]?.uuid ?? ''
    await vi.waitFor(async () => expect(['active', 'error']).toContain(await stateOf(uuid)), SETTLE)
    const { instance, attempts } = await conductor.explainInstance(newRequestContext(), { instance_uuid: uuid })
    const report = instance.vm_state === 'active' ? undefined : attempts.at(-1)?.report
    return { uuid, end: report?.rejections.map(({ filter, reason }) => `${filter}: ${reason}`).join() ?? 'active' }
  }

  /** Slots by pool, as `sevbus hosts` shows them: used and usable. */
  async function slots(): Promise<Readonly<Record<string, string>>> {
    const { hosts } = await client.of(SchedulerApi).listHosts(newRequestContext(), {})
    const pools = hosts.flatMap(({ providers }) => providers.filter(({ model }) => model !== null))
    return Object.fromEntries(
      pools.map(({ model, inventories: { MEM_ENCRYPTION_CONTEXT: slot } }) => [
        model,
        `${slot?.used} of ${slot?.capacity}`,
      ]),
    )
  }

  return {
    machine: host,
    boot,
    slotsBecome: (expected: object) => vi.waitFor(async () => expect(await slots()).toEqual(expected), SETTLE),
    delete: (instance_uuid: string) => conductor.deleteInstance(newRequestContext(), { instance_uuid }),
  }
}

it('a host that switches SNP on under an SEV-ES guest offers nothing until that guest is gone, and the scheduler says why', async () => {
  const { machine, boot, slotsBecome, ...cloud } = await openCloud({ sev_slots: 5, sev_es_slots: 2 })
  const guest = await boot('amd-sev-es')
  expect(guest.end).toBe('active')
  await slotsBecome({ 'amd-sev': '0 of 5', 'amd-sev-es': '1 of 2' })

  machine.reconfigure({ sev_snp_slots: 2 })
  // What is still in use stays to be seen; nothing more is to be had of it.
  await slotsBecome({ 'amd-sev-es': '1 of 0' })
  const refused = await boot('amd-sev')
  expect(refused.end).toMatch(new RegExp(`^MemEncryptionModel: instances ${guest.uuid} need SEV-ES \\(.*sev_snp=0`))

  await cloud.delete(guest.uuid)
  await slotsBecome({ 'amd-sev': '0 of 5', 'amd-sev-snp': '0 of 2' })
  expect((await boot('amd-sev-snp')).end).toBe('active')
  expect((await boot('amd-sev-es')).end).toMatch(/^MemEncryptionModel: SEV-SNP is on/)
})

it('a host that was installed anew, with SNP on, offers it when the claims of its lost SEV-ES guests are given back', async () => {
  const { machine, boot, slotsBecome, ...cloud } = await openCloud({ sev_slots: 5, sev_es_slots: 2 })
  const guest = await boot('amd-sev-es')

  await machine.destroy(guest.uuid)
  machine.reconfigure({ sev_snp_slots: 2 })

  await slotsBecome({ 'amd-sev': '0 of 5', 'amd-sev-es': '1 of 0', 'amd-sev-snp': '0 of 0' })
  expect((await boot('amd-sev')).end).toBe('active')
  expect((await boot('amd-sev-snp')).end).toBe(
    'MemEncryptionMode: SEV-SNP is off while 1 SEV-ES slot is in use: a host runs one of the two',
  )
  await cloud.delete(guest.uuid)
  await slotsBecome({ 'amd-sev': '1 of 5', 'amd-sev-snp': '0 of 2' })
  expect((await boot('amd-sev-snp')).end).toBe('active')
})

it('a host that gets SEV-ES back keeps the guest that it was lost to, and takes others again', async () => {
  const { machine, boot, slotsBecome } = await openCloud({ sev_slots: 5, sev_es_slots: 2 })
  await boot('amd-sev-es')
  machine.reconfigure({ sev_snp_slots: 2 })
  await slotsBecome({ 'amd-sev-es': '1 of 0' })

  machine.reconfigure({ sev_snp_slots: 0 })

  await slotsBecome({ 'amd-sev': '0 of 5', 'amd-sev-es': '1 of 2' })
  expect((await boot('amd-sev-es')).end).toBe('active')
})

it('a host with fewer slots than guests takes no more of them until it has more again', async () => {
  const { machine, boot, slotsBecome } = await openCloud({ sev_slots: 3, sev_es_slots: 0 })
  await boot('amd-sev')
  await boot('amd-sev')

  machine.reconfigure({ sev_slots: 1 })
  await slotsBecome({ 'amd-sev': '2 of 1' })
  expect((await boot('amd-sev')).end).toBe('MemEncryptionSlots: 2 of 1 SEV slots used, 0 reserved')

  machine.reconfigure({ sev_slots: 4 })
  await slotsBecome({ 'amd-sev': '2 of 4' })
  expect((await boot('amd-sev')).end).toBe('active')
})

it('a host whose libvirt counts no guests boots SEV-ES guests by the number of its operator', async () => {
  const old = { sev_slots: 3, sev_es_slots: 2, libvirt_version: '7.0' } as const
  const { boot, slotsBecome } = await openCloud(old, { num_sev_es_encrypted_guests: 1, num_memory_encrypted_guests: 0 })
  await slotsBecome({ 'amd-sev-es': '0 of 1' })

  expect((await boot('amd-sev-es')).end).toBe('active')
  expect((await boot('amd-sev-es')).end).toBe('MemEncryptionSlots: 1 of 1 SEV-ES slots used, 0 reserved')
  expect((await boot('amd-sev')).end).toMatch(/^MemEncryptionModel: compute.num_memory_encrypted_guests is 0/)
})
