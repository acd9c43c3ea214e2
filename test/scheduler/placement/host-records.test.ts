import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { HostReport, ProviderReport } from '../../../src/objects/host-report.ts'
import type { Inventory } from '../../../src/objects/inventory.ts'
import { reportDigest } from '../../../src/scheduler/placement/host-records.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport, anInventory } from '../../support/host-reports.ts'

const report = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

function slot(host: string) {
  return { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }
}

describe.each(databaseEngines)('host records on $name', ({ open }) => {
  async function openPlacement() {
    const test = await open(placementMigrations)
    return {
      test,
      placement: new DatabasePlacement(test.database),
      [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
    }
  }

  it('give back what a host reported, as the scheduler sees it', async () => {
    await using given = await openPlacement()
    const told = aHostReport('cn-1', {
      slots: { 'amd-sev': 15 },
      report: {
        default_machine_type: 'pc',
        uefi_guests: { stateful: ['plain', 'amd-sev'], stateless: [] },
        disk_buses: ['scsi', 'virtio'],
        missing_models: { 'amd-sev-es': 'ES is off because SNP is on' },
        architecture: 'x86_64',
        io_ops: 3,
      },
    })

    expect(await given.placement.recordHost(told)).toEqual({
      changed: true,
      overcommitted: [],
      closed: [],
      digest: reportDigest(told),
    })

    const unused = (inventory: Inventory, capacity = inventory.total) => ({
      ...inventory,
      capacity,
      used: 0,
      pinned: 0,
      offered: true,
      version: expect.any(Number),
    })
    expect(await given.placement.hostStates()).toEqual([
      {
        host: 'cn-1',
        up: true,
        secondsSinceSeen: expect.any(Number),
        lastSeenUp: expect.any(Date),
        reportIntervalSeconds: 10,
        forcedDown: false,
        fenced: false,
        disabled: false,
        disabledReason: undefined,
        failedBuilds: 0,
        aggregates: [],
        availabilityZone: 'nova',
        hypervisorType: 'QEMU',
        architecture: 'x86_64',
        defaultMachineType: 'pc',
        machineTypes: ['q35', 'pc', 'pc-q35-9.2', 'pc-i440fx-9.2'],
        supportsUefi: true,
        uefiGuests: { stateful: ['plain', 'amd-sev'], stateless: [] },
        diskBuses: ['scsi', 'virtio'],
        missingModels: { 'amd-sev-es': 'ES is off because SNP is on' },
        ioOps: 3,
        instances: 0,
        root: {
          name: 'cn-1',
          traits: ['OWNER_NOVA'],
          inventories: {
            VCPU: unused(anInventory(64)),
            MEMORY_MB: unused(anInventory(65_536)),
            DISK_GB: unused(anInventory(1000)),
          },
        },
        pools: [
          {
            name: 'cn-1_amd_sev',
            traits: ['HW_CPU_X86_AMD_SEV', 'OWNER_NOVA'],
            inventories: { MEM_ENCRYPTION_CONTEXT: unused(anInventory(15, { max_unit: 1 })) },
          },
        ],
      },
    ])
    expect(await given.placement.hostStates(['cn-2'])).toEqual([])
  })

  it('touch nothing but the time of the last sign of life when a report is unchanged', async () => {
    await using given = await openPlacement()
    await given.placement.recordHost(aHostReport('cn-1'))
    const rows = () =>
      given.test.database.query(`select xmin::text as written_by from resource_providers
        union all select xmin::text from inventories union all select xmin::text from provider_traits`)
    const before = await rows()
    await given.test.database.query(`update compute_hosts set last_seen_up = now() - interval '1 hour'`)

    expect(await given.placement.recordHost(aHostReport('cn-1'))).toEqual({
      changed: false,
      overcommitted: [],
      closed: [],
      digest: reportDigest(aHostReport('cn-1')),
    })

    expect(await rows()).toEqual(before)
    expect(await given.placement.hostStates()).toMatchObject([{ host: 'cn-1', up: true }])
  })

  it('show a host as down after six of its report intervals without a sign of life', async () => {
    await using given = await openPlacement()
    await given.placement.recordHost(aHostReport('cn-1'))
    const lastSeen = async (seconds: number) => {
      await given.test.database.query(`update compute_hosts set last_seen_up = now() - $1 * interval '1 second'`, [
        seconds,
      ])
      const [host] = await given.placement.hostStates()
      return host?.up
    }

    expect(await lastSeen(59)).toBe(true)
    expect(await lastSeen(61)).toBe(false)
  })

  it('follow a changed report: amounts, traits, pools that come and go', async () => {
    await using given = await openPlacement()
    await given.placement.recordHost(aHostReport('cn-1', { vcpus: 8, slots: { 'amd-sev': 15, 'amd-sev-es': 5 } }))

    await given.placement.recordHost(aHostReport('cn-1', { vcpus: 16, slots: { 'amd-sev-snp': 3 } }))

    const [host] = await given.placement.hostStates()
    expect(host?.root.inventories.VCPU).toMatchObject({ total: 16, capacity: 16 })
    expect(host?.pools.map(({ name, traits }) => [name, traits])).toEqual([
      ['cn-1_amd_sev_snp', ['HW_CPU_X86_AMD_SEV_SNP', 'OWNER_NOVA']],
    ])
  })

  it('keep an inventory that shrank under its use, and give nothing more of it', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 3 } }))
    const uuids = [randomUUID(), randomUUID()]
    for (const uuid of uuids)
      await placement.claim(uuid, { host: 'cn-1', attempt: 1, allocations: [slot('cn-1')], report })

    const record = await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 1 } }))

    expect(record).toEqual({
      changed: true,
      overcommitted: [
        {
          provider: 'cn-1_amd_sev',
          resource_class: 'MEM_ENCRYPTION_CONTEXT',
          used: 2,
          pinned: 0,
          capacity: 1,
          offered: true,
        },
      ],
      closed: [],
      digest: expect.any(String),
    })
    await expect(
      placement.claim(randomUUID(), { host: 'cn-1', attempt: 1, allocations: [slot('cn-1')], report }),
    ).rejects.toMatchObject({ code: 'CLAIM_REFUSED', details: { refusal: 'has 2 of 1 used' } })
    await placement.release({ instance_uuid: uuids[0] as string, attempt: 1 })
    const [host] = await placement.hostStates()
    expect(host?.pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT).toMatchObject({ used: 1, capacity: 1 })
  })

  it('keep a pool that is gone from the host until its last instance is, and give nothing more of it', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 3 } }))
    const uuid = randomUUID()
    await placement.claim(uuid, { host: 'cn-1', attempt: 1, allocations: [slot('cn-1')], report })

    const withoutPool = await placement.recordHost(aHostReport('cn-1'))
    const refused = placement.claim(randomUUID(), { host: 'cn-1', attempt: 1, allocations: [slot('cn-1')], report })

    expect(withoutPool).not.toHaveProperty('digest')
    expect(withoutPool.overcommitted).toEqual([
      {
        provider: 'cn-1_amd_sev',
        resource_class: 'MEM_ENCRYPTION_CONTEXT',
        used: 1,
        pinned: 0,
        capacity: 3,
        offered: false,
      },
    ])
    await expect(refused).rejects.toMatchObject({ details: { refusal: 'is offered no more' } })
    await placement.release({ instance_uuid: uuid, attempt: 1 })
    const settled = { changed: false, overcommitted: [], closed: [], digest: expect.any(String) }
    expect(await placement.recordHost(aHostReport('cn-1'))).toEqual(settled)
    expect(await placement.hostStates()).toMatchObject([{ host: 'cn-1', pools: [] }])
  })

  it('refuse a provider that belongs to another host, and take nothing of that report', async () => {
    await using given = await openPlacement()
    // Names with an underscore: that a provider begins with its host's name does not say whose it is.
    await given.placement.recordHost(aHostReport('cn_1', { slots: { 'amd-sev': 3 } }))
    const [root, ...rest] = aHostReport('cn').providers
    const thief: HostReport = {
      ...aHostReport('cn'),
      providers: [root as ProviderReport, ...rest, { name: 'cn_1', parent_name: 'cn', inventories: {}, traits: [] }],
    }

    await expect(given.placement.recordHost(thief)).rejects.toMatchObject({
      code: 'INVALID_INVENTORY',
      message: 'the report of cn was not taken: provider cn_1 belongs to host cn_1; give each host its own name',
    })
    expect((await given.placement.hostStates()).map(({ host }) => host)).toEqual(['cn_1'])
  })

  it('are written one after the other when a host reports through several schedulers at once', async () => {
    await using given = await openPlacement()
    const schedulers = await Promise.all(Array.from({ length: 3 }, () => given.test.connect()))

    await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        new DatabasePlacement(schedulers[n % 3] ?? given.test.database).recordHost(
          aHostReport('cn-1', { vcpus: 1 + (n % 4), slots: n % 2 ? { 'amd-sev': 3 } : { 'amd-sev-es': 4 } }),
        ),
      ),
    )

    const [host] = await given.placement.hostStates()
    expect(host?.pools).toHaveLength(1)
  })
})
