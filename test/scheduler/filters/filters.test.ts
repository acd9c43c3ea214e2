import { describe, expect, it } from 'vitest'
import { computeFilter } from '../../../src/scheduler/filters/compute.ts'
import { defaultFilters } from '../../../src/scheduler/filters/default-filters.ts'
import { diskBus } from '../../../src/scheduler/filters/disk-bus.ts'
import { forcedHosts } from '../../../src/scheduler/filters/forced-hosts.ts'
import { ignoredHosts } from '../../../src/scheduler/filters/ignored-hosts.ts'
import { machineType } from '../../../src/scheduler/filters/machine-type.ts'
import { memEncryptionMode } from '../../../src/scheduler/filters/mem-encryption-mode.ts'
import { memEncryptionModel } from '../../../src/scheduler/filters/mem-encryption-model.ts'
import { memEncryptionSlots } from '../../../src/scheduler/filters/mem-encryption-slots.ts'
import { pinnedMemory } from '../../../src/scheduler/filters/pinned-memory.ts'
import { resources } from '../../../src/scheduler/filters/resources.ts'
import { uefi } from '../../../src/scheduler/filters/uefi.ts'
import type { InventoryState } from '../../../src/scheduler/host-state.ts'
import { aHost, aRequest } from '../builders.ts'

describe('ComputeFilter', () => {
  it('passes a host that is up and enabled', () => {
    expect(computeFilter.reject(aHost('cn-1'), aRequest())).toBeUndefined()
  })

  it('rejects a host that is down, with the time since its last report', () => {
    const host = aHost('cn-1', { state: { up: false, secondsSinceSeen: 75.4 } })

    expect(computeFilter.reject(host, aRequest())).toBe('down: last report 75 s ago, expected every 10 s')
  })

  it('rejects a host that an operator disabled, with the reason', () => {
    const because = aHost('cn-1', { state: { disabled: true, disabledReason: 'new memory' } })
    const silently = aHost('cn-1', { state: { disabled: true } })

    expect(computeFilter.reject(because, aRequest())).toBe('disabled: new memory')
    expect(computeFilter.reject(silently, aRequest())).toBe('disabled: no reason was given')
  })
})

describe('ComputeFilter, of hosts whose hypervisor does not answer,', () => {
  const hypervisor_silence = { since: '2026-03-01T10:00:00.000Z', reason: 'no answer to a question for more than 10 s' }

  it('rejects them, though they are up, and says since when and why', () => {
    const host = aHost('cn-1', { report: { hypervisor_silence } })

    expect(computeFilter.reject(host, aRequest())).toBe(
      'its hypervisor does not answer since 2026-03-01T10:00:00.000Z: no answer to a question for more than 10 s',
    )
  })
})

describe('ComputeFilter, of hosts that an operator forces down,', () => {
  it('rejects them whatever they report, and says who said so', () => {
    const host = aHost('cn-1', { state: { up: false, forcedDown: true, disabled: true } })

    expect(computeFilter.reject(host, aRequest())).toBe('forced down by an operator')
  })
})

describe('IgnoredHosts', () => {
  it('rejects the hosts where an earlier try failed, and no other', () => {
    const request = aRequest({ spec: { ignore_hosts: ['cn-1'] } })

    expect(ignoredHosts.reject(aHost('cn-1'), request)).toBe('in ignore_hosts: an earlier try failed there')
    expect(ignoredHosts.reject(aHost('cn-2'), request)).toBeUndefined()
  })
})

describe('ForcedHosts', () => {
  it('passes every host when the request names none', () => {
    expect(forcedHosts.reject(aHost('cn-1'), aRequest())).toBeUndefined()
  })

  it('rejects all hosts but those that the request names', () => {
    const request = aRequest({ spec: { force_hosts: ['cn-2', 'cn-3'] } })

    expect(forcedHosts.reject(aHost('cn-1'), request)).toBe('only cn-2, cn-3 may be used')
    expect(forcedHosts.reject(aHost('cn-2'), request)).toBeUndefined()
  })

  it('names no more than five of them', () => {
    const request = aRequest({ spec: { force_hosts: ['a', 'b', 'c', 'd', 'e', 'f', 'g'] } })
    const five = aRequest({ spec: { force_hosts: ['a', 'b', 'c', 'd', 'e'] } })

    expect(forcedHosts.reject(aHost('cn-1'), five)).toBe('only a, b, c, d, e may be used')

    expect(forcedHosts.reject(aHost('cn-1'), request)).toBe('only a, b, c, d, e and 2 more may be used')
  })
})

describe('Resources', () => {
  it('passes a host that the request fills to the last bit', () => {
    const host = aHost('cn-1', { vcpus: 8, used: { VCPU: 4 } })

    expect(resources.reject(host, aRequest({ vcpus: 4 }))).toBeUndefined()
  })

  it('names everything that is lacking, with the numbers', () => {
    const host = aHost('cn-1', { vcpus: 8, memoryMb: 4096, used: { VCPU: 5, MEMORY_MB: 4000 } })

    expect(resources.reject(host, aRequest({ vcpus: 4, memoryMb: 1024 }))).toBe(
      'VCPU: 4 asked, 5 of 8 used (8 in all, 0 reserved, ratio 1); MEMORY_MB: 1024 asked, 4000 of 4096 used (4096 in all, 0 reserved, ratio 1)',
    )
  })

  it('rejects a host that does not report the resource, or not in this amount', () => {
    const bare = { ...aHost('cn-1').root, inventories: {} }
    const host = aHost('cn-1', { vcpus: 2, state: { root: bare } })

    expect(resources.reject(host, aRequest({ diskGb: 0 }))).toBe(
      'VCPU: 1 asked, the host reports none; MEMORY_MB: 1024 asked, the host reports none',
    )
    expect(resources.reject(aHost('cn-1', { vcpus: 2 }), aRequest({ vcpus: 4 }))).toBe(
      'VCPU: 4 asked, one instance gets at most 2 here (max_unit)',
    )
    const { VCPU } = aHost('cn-1').root.inventories
    if (VCPU === undefined) throw new Error('a host has processors')
    const inPairs = aHost('cn-1', {
      state: { root: { ...bare, inventories: { ...aHost('cn-1').root.inventories, VCPU: { ...VCPU, step_size: 2 } } } },
    })
    expect(resources.reject(inPairs, aRequest({ vcpus: 3 }))).toBe(
      'VCPU: 3 asked, one instance gets multiples of 2 here (step_size)',
    )
    const large = aHost('cn-1', {
      state: { root: { ...bare, inventories: { ...aHost('cn-1').root.inventories, VCPU: { ...VCPU, min_unit: 2 } } } },
    })
    expect(resources.reject(large, aRequest({ vcpus: 1 }))).toBe(
      'VCPU: 1 asked, one instance gets at least 2 here (min_unit)',
    )
  })

  it('rejects a host that has stopped to offer the resource', () => {
    const { root } = aHost('cn-1')
    const VCPU = root.inventories.VCPU
    if (VCPU === undefined) throw new Error('a host has processors')
    const gone = { ...root, inventories: { ...root.inventories, VCPU: { ...VCPU, offered: false } } }

    expect(resources.reject(aHost('cn-1', { state: { root: gone } }), aRequest())).toBe(
      'VCPU: 1 asked, the host offers none any more',
    )
  })
})

describe('MemEncryptionModel', () => {
  it('passes every host for a guest that runs in clear', () => {
    expect(memEncryptionModel.reject(aHost('cn-1'), aRequest())).toBeUndefined()
  })

  it('passes a host with a pool of the model, even a full one', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 15 } })

    expect(memEncryptionModel.reject(host, aRequest({ model: 'amd-sev' }))).toBeUndefined()
  })

  it('rejects a host with pools of other models only', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 15, 'amd-sev-snp': 5 } })

    expect(memEncryptionModel.reject(host, aRequest({ model: 'amd-sev-es' }))).toBe('offers no SEV-ES')
  })

  it("gives the host's own reason where it has told one", () => {
    const missing_models = { 'amd-sev-es': 'ES is off because SNP is on' }
    const host = aHost('cn-1', { slots: { 'amd-sev-snp': 5 }, report: { missing_models } })

    expect(memEncryptionModel.reject(host, aRequest({ model: 'amd-sev-es' }))).toBe('ES is off because SNP is on')
  })
})

describe('MemEncryptionMode', () => {
  const both = (es: number, snp: number) => {
    const of = (model: 'amd-sev-es' | 'amd-sev-snp', used: number) =>
      aHost('cn-1', { slots: { [model]: 5 }, used: { MEM_ENCRYPTION_CONTEXT: used } }).pools
    return aHost('cn-1', { state: { pools: [...of('amd-sev-es', es), ...of('amd-sev-snp', snp)] } })
  }

  it('rejects a host that runs guests of the model which excludes the one that is asked for, with their number', () => {
    expect(memEncryptionMode.reject(both(2, 0), aRequest({ model: 'amd-sev-snp' }))).toBe(
      'SEV-SNP is off while 2 SEV-ES slots are in use: a host runs one of the two',
    )
    expect(memEncryptionMode.reject(both(0, 1), aRequest({ model: 'amd-sev-es' }))).toBe(
      'SEV-ES is off while 1 SEV-SNP slot is in use: a host runs one of the two',
    )
  })

  it('passes one that runs guests of the same model, or none, and lets SEV and guests in clear be beside any', () => {
    expect(memEncryptionMode.reject(both(2, 0), aRequest({ model: 'amd-sev-es' }))).toBeUndefined()
    expect(memEncryptionMode.reject(both(0, 0), aRequest({ model: 'amd-sev-snp' }))).toBeUndefined()
    expect(memEncryptionMode.reject(both(2, 0), aRequest({ model: 'amd-sev' }))).toBeUndefined()
    expect(memEncryptionMode.reject(both(2, 0), aRequest())).toBeUndefined()
  })

  it('counts slots that the host offers no more', () => {
    const host = both(1, 0)
    const pools = host.pools.map((pool) => {
      const slots = pool.inventories.MEM_ENCRYPTION_CONTEXT as InventoryState
      return { ...pool, inventories: { MEM_ENCRYPTION_CONTEXT: { ...slots, offered: slots.used === 0 } } }
    })

    expect(memEncryptionMode.reject({ ...host, pools }, aRequest({ model: 'amd-sev-snp' }))).toBe(
      'SEV-SNP is off while 1 SEV-ES slot is in use: a host runs one of the two',
    )
  })
})

describe('MemEncryptionSlots', () => {
  it('passes a host with one slot left', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 14 } })

    expect(memEncryptionSlots.reject(host, aRequest({ model: 'amd-sev' }))).toBeUndefined()
  })

  it('rejects a host whose slots are all used, with the numbers', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 15 } })

    expect(memEncryptionSlots.reject(host, aRequest({ model: 'amd-sev' }))).toBe('15 of 15 SEV slots used, 0 reserved')
    expect(memEncryptionSlots.reject(host, aRequest())).toBeUndefined()
  })

  it('passes a host with a slot in any of its pools of the model', () => {
    const full = aHost('cn-1', { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 15 } })
    const pools = [...full.pools, ...aHost('cn-1', { slots: { 'amd-sev': 1 } }).pools]

    expect(memEncryptionSlots.reject({ ...full, pools }, aRequest({ model: 'amd-sev' }))).toBeUndefined()
  })

  it('counts reserved slots as taken', () => {
    const host = aHost('cn-1', { slots: { 'amd-sev-snp': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 12 } })
    const pools = host.pools.map((pool) => ({
      ...pool,
      inventories: Object.fromEntries(
        Object.entries(pool.inventories).map(([name, inventory]) => [
          name,
          { ...inventory, reserved: 3, capacity: 12 },
        ]),
      ),
    }))

    expect(memEncryptionSlots.reject({ ...host, pools }, aRequest({ model: 'amd-sev-snp' }))).toBe(
      '12 of 15 SEV-SNP slots used, 3 reserved',
    )
  })

  it('leaves a host without a pool to MemEncryptionModel', () => {
    expect(memEncryptionSlots.reject(aHost('cn-1'), aRequest({ model: 'amd-sev' }))).toBeUndefined()
  })
})

describe('MachineType', () => {
  const pcHost = aHost('cn-1', { report: { default_machine_type: 'pc' } })

  it('rejects a host whose default is not q35 when an encrypted guest takes the default', () => {
    const request = aRequest({ model: 'amd-sev', image: { hw_firmware_type: 'uefi' } })

    expect(machineType.reject(pcHost, request)).toBe(
      'default machine type is pc, an encrypted guest needs q35 and its image names none',
    )
  })

  it('passes it when the image names the machine type, or the guest runs in clear', () => {
    expect(machineType.reject(pcHost, aRequest({ model: 'amd-sev' }))).toBeUndefined()
    expect(machineType.reject(pcHost, aRequest())).toBeUndefined()
  })

  it('passes a host whose default is a versioned q35', () => {
    const host = aHost('cn-1', { report: { default_machine_type: 'pc-q35-8.2' } })

    expect(machineType.reject(host, aRequest({ model: 'amd-sev', image: {} }))).toBeUndefined()
  })
})

describe('Uefi', () => {
  it('rejects a host without UEFI firmware for an image that boots with it, and for no other', () => {
    const host = aHost('cn-1', { report: { supports_uefi: false } })

    expect(uefi.reject(host, aRequest({ image: { hw_firmware_type: 'uefi' } }))).toBe(
      'has no UEFI firmware, which the image asks for (hw_firmware_type=uefi)',
    )
    expect(uefi.reject(host, aRequest())).toBeUndefined()
    expect(uefi.reject(aHost('cn-2'), aRequest({ image: { hw_firmware_type: 'uefi' } }))).toBeUndefined()
  })

  it.each([
    [undefined, undefined, undefined],
    [
      'true',
      undefined,
      'has no UEFI firmware for stateless guests, which the image asks for (hw_firmware_stateless=true)',
    ],
    [undefined, 'amd-sev', undefined],
    [
      'yes',
      'amd-sev',
      'has no UEFI firmware for stateless SEV guests, which the image asks for (hw_firmware_stateless=true)',
    ],
    [
      undefined,
      'amd-sev-es',
      'has no UEFI firmware for SEV-ES guests that keep their variables, and the image asks for no other (hw_firmware_stateless)',
    ],
    ['true', 'amd-sev-es', undefined],
  ] as const)(
    'asked for stateless %j, by a guest with %j, says %j of a host with a build for each',
    (asked, model, reason) => {
      const guests = { stateful: ['plain' as const, 'amd-sev' as const], stateless: ['amd-sev-es' as const] }
      const image = { hw_firmware_type: 'uefi', ...(asked && { hw_firmware_stateless: asked }) }
      const request = aRequest({ image, ...(model && { model }) })

      expect(uefi.reject(aHost('cn-1', { report: { uefi_guests: guests } }), request)).toBe(reason)
      expect(uefi.reject(aHost('cn-2'), request)).toBeUndefined()
    },
  )
})

describe('DiskBus', () => {
  const host = aHost('cn-1', { report: { disk_buses: ['scsi', 'virtio'] } })
  const asking = (image: Readonly<Record<string, string>>) => aRequest({ image })

  it('drops a host whose q35 has no disks on the bus of the image', () => {
    expect(diskBus.reject(host, asking({ hw_disk_bus: 'usb' }))).toBe(
      'has no disks on usb, which the image asks for (hw_disk_bus); on q35 it has scsi, virtio',
    )
    expect(diskBus.reject(host, asking({ hw_disk_bus: 'ide', hw_machine_type: 'pc-q35-9.2' }))).toMatch(/^has no disks/)
  })

  it('drops it for the bus of CD-ROMs, too, where the image insists on a config drive', () => {
    const drive = { hw_cdrom_bus: 'sata', img_config_drive: 'mandatory' }

    expect(diskBus.reject(host, asking(drive))).toBe(
      'has no CD-ROMs on sata, which the image asks for (hw_cdrom_bus); on q35 it has scsi, virtio',
    )
    expect(diskBus.reject(host, asking({ ...drive, hw_disk_bus: 'usb' }))).toMatch(/^has no disks on usb/)
    expect(diskBus.reject(host, asking({ ...drive, hw_cdrom_bus: 'scsi' }))).toBeUndefined()
    expect(diskBus.reject(host, asking({ ...drive, hw_machine_type: 'pc' }))).toBeUndefined()
    expect(diskBus.reject(host, asking({ ...drive, img_config_drive: 'optional' }))).toBeUndefined()
  })

  it('lets pass what the host has, what the old machine may have, what means nothing, and a host that does not tell', () => {
    expect(diskBus.reject(host, asking({ hw_disk_bus: 'scsi' }))).toBeUndefined()
    expect(diskBus.reject(host, asking({}))).toBeUndefined()
    expect(diskBus.reject(host, asking({ hw_disk_bus: 'ide', hw_machine_type: 'pc' }))).toBeUndefined()
    expect(diskBus.reject(host, asking({ hw_disk_bus: 'floppy' }))).toBeUndefined()
    expect(diskBus.reject(aHost('cn-2'), asking({ hw_disk_bus: 'usb' }))).toBeUndefined()
  })
})

describe('PinnedMemory', () => {
  const overcommitted = { memoryMb: 65_536, ramRatio: 1.5, slots: { 'amd-sev': 15 } } as const
  const asked = (memoryMb: number) => aRequest({ model: 'amd-sev', memoryMb: memoryMb - 32 })

  it('lends out twice only what is not pinned: 32 GiB pinned leave 48 GiB of the other 32 at a ratio of 1.5', () => {
    const half = aHost('cn-1', { ...overcommitted, used: { MEMORY_MB: 32_768 }, pinned: 32_768 })

    expect(pinnedMemory.reject(half, asked(32_768))).toBeUndefined()
    expect(pinnedMemory.reject(half, aRequest({ memoryMb: 49_152 }))).toBeUndefined()
    expect(pinnedMemory.reject(half, aRequest({ memoryMb: 65_536 }))).toContain('65536 asked, 32768 of 98304 used')
    expect(pinnedMemory.reject(half, asked(32_769))).toBe(
      'MEMORY_MB: 32769 asked, to be pinned, 32768 of 98304 used, 32768 of it pinned; what is pinned is not overcommitted (65536 in all, 0 reserved, ratio 1.5)',
    )
    expect(pinnedMemory.reject(half, aRequest({ memoryMb: 49_153 }))).toBe(
      'MEMORY_MB: 49153 asked, 32768 of 98304 used, 32768 of it pinned; what is pinned is not overcommitted (65536 in all, 0 reserved, ratio 1.5)',
    )
  })

  it('finds no room for a pinned guest beside ordinary ones that already live on borrowed memory', () => {
    const lent = aHost('cn-1', { ...overcommitted, used: { MEMORY_MB: 80_000 } })

    expect(pinnedMemory.reject(lent, aRequest({ memoryMb: 16_384 }))).toBeUndefined()
    expect(pinnedMemory.reject(lent, asked(12_202))).toBeUndefined()
    expect(pinnedMemory.reject(lent, asked(12_203))).toContain('12203 asked, to be pinned, 80000 of 98304 used')
  })

  it('holds for whoever locks his memory, encrypted or not', () => {
    const lent = aHost('cn-1', { ...overcommitted, used: { MEMORY_MB: 80_000 } })
    const { flavor } = aRequest({ memoryMb: 16_384 }).spec
    const extra_specs = { 'hw:locked_memory': 'true', 'hw:mem_page_size': 'small' }

    expect(pinnedMemory.reject(lent, aRequest({ spec: { flavor: { ...flavor, extra_specs } } }))).toContain(
      '16384 asked, to be pinned',
    )
  })

  it('leaves hosts without overcommit, and what fits nowhere, to the filter of resources', () => {
    const full = aHost('cn-1', { used: { MEMORY_MB: 65_000 }, pinned: 65_000, slots: { 'amd-sev': 15 } })
    const bare = { ...full.root, inventories: {} }

    for (const host of [full, { ...full, root: bare }]) {
      expect(pinnedMemory.reject(host, asked(1056))).toBeUndefined()
      expect(resources.reject(host, asked(1056))).toContain('MEMORY_MB: 1056 asked')
    }
  })
})

describe('the default filters', () => {
  it('ask first who may not be used, then what can never fit, then what is full now', () => {
    expect(defaultFilters().map(({ name }) => name)).toEqual([
      'ComputeFilter',
      'ForcedHosts',
      'IgnoredHosts',
      'AvailabilityZoneFilter',
      'AggregateMultiTenancyIsolation',
      'AggregateImagePropertiesIsolation',
      'AggregateInstanceExtraSpecsFilter',
      'ImagePropertiesFilter',
      'MemEncryptionModel',
      'Traits',
      'MachineType',
      'Uefi',
      'DiskBus',
      'SameHostFilter',
      'DifferentHostFilter',
      'ServerGroupAffinityFilter',
      'ServerGroupAntiAffinityFilter',
      'IoOpsFilter',
      'NumInstancesFilter',
      'MemEncryptionMode',
      'MemEncryptionSlots',
      'PinnedMemory',
      'Resources',
    ])
  })

  it('each say what would help', () => {
    expect(defaultFilters().filter(({ fix }) => fix === undefined)).toEqual([])
  })
})
