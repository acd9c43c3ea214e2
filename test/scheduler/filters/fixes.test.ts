import { expect, it } from 'vitest'
import { defaultFilters } from '../../../src/scheduler/filters/default-filters.ts'

it('every filter says what could be done about its hosts', () => {
  expect(Object.fromEntries(defaultFilters.map(({ name, fix }) => [name, fix]))).toEqual({
    ComputeFilter: 'start the compute worker on the host, or enable the host',
    ForcedHosts: 'name a host that has reported, or leave force_hosts empty',
    IgnoredHosts: 'see why the earlier tries failed there (explain), correct it and build again, or add a host',
    MemEncryptionModel: 'turn the model on in firmware and kernel of a host, or ask for a model that the hosts offer',
    MachineType:
      'name a machine type on the image that the hosts have (hw_machine_type=q35), or make q35 the default of a host',
    Uefi: 'install UEFI firmware for guests (OVMF) on the host',
    MemEncryptionSlots: 'delete an encrypted instance of this model there, or add a host with free slots',
    PinnedMemory: 'set ram_allocation_ratio=1 on hosts of encrypted guests, delete instances there, or add a host',
    Resources: 'delete instances there, ask for a smaller flavor, or add a host',
  })
})
