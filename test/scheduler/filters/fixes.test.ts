import { expect, it } from 'vitest'
import { fakeCapabilities } from '../../../src/compute/fake/fake-capabilities.ts'
import type { FakeHostOptions } from '../../../src/compute/fake/fake-host-options.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { limitSlots, NO_LIMITS } from '../../../src/compute/libvirt/slot-limits.ts'
import { defaultFilters } from '../../../src/scheduler/filters/default-filters.ts'
import { memEncryptionModel } from '../../../src/scheduler/filters/mem-encryption-model.ts'
import { aHost, aRequest } from '../builders.ts'

it('every filter says what could be done about its hosts', () => {
  expect(Object.fromEntries(defaultFilters().map(({ name, fix }) => [name, fix]))).toEqual({
    ComputeFilter:
      'start the compute worker on the host, or libvirt where that does not answer, or give the host back: sevbus host set HOST --enable --no-forced-down',
    ForcedHosts: 'name a host that has reported, or leave force_hosts empty',
    IgnoredHosts: 'see why the earlier tries failed there (explain), correct it and build again, or add a host',
    AvailabilityZoneFilter:
      'ask for a zone that hosts are in, or put hosts into this one: sevbus aggregate set NAME --metadata availability_zone=ZONE',
    AggregateMultiTenancyIsolation:
      'let the project in: sevbus aggregate set NAME --metadata filter_tenant_id=PROJECT,…; or add hosts for all projects',
    AggregateImagePropertiesIsolation:
      'add hosts for such images, or change the metadata of the aggregate: sevbus aggregate set NAME --metadata KEY=VALUE',
    AggregateInstanceExtraSpecsFilter:
      'put hosts into an aggregate that says so: sevbus aggregate set NAME --metadata KEY=VALUE; or take another flavor',
    ImagePropertiesFilter:
      'take an image that is made for the hosts, or correct its hw_architecture, img_hv_type or hw_vm_mode',
    Traits: 'give the trait to hosts that have what it means (compute.traits), or take another flavor or image',
    SameHostFilter:
      'make room on the host of these instances, name some that are on a host, or ask without the hint same_host',
    DifferentHostFilter: 'add a host, or ask without the hint different_host',
    ServerGroupAffinityFilter: 'make room on the host of the group, or ask without the hint group',
    ServerGroupAntiAffinityFilter:
      'add a host, delete a member of the group, or make a group that allows more on one host (max_server_per_host)',
    IoOpsFilter: 'try again when the builds there are done, raise max_io_ops_per_host, or add a host',
    NumInstancesFilter: 'delete instances there, raise max_instances_per_host, or add a host',
    MemEncryptionModel: 'do what the host says it lacks, or ask for a model that the hosts offer',
    MachineType:
      'name a machine type on the image that the hosts have (hw_machine_type=q35), or make q35 the default of a host',
    Uefi: 'install UEFI firmware for such guests (OVMF) on the host, or change hw_firmware_stateless on the image',
    DiskBus: 'name buses on the image that the hosts have (hw_disk_bus, hw_cdrom_bus), or remove them',
    MemEncryptionMode: 'delete the instances of the other model there, ask for that model, or add a host',
    MemEncryptionSlots: 'delete an encrypted instance of this model there, or add a host with free slots',
    PinnedMemory: 'set ram_allocation_ratio=1 on hosts of encrypted guests, delete instances there, or add a host',
    Resources: 'ask for a smaller flavor, add a host, or delete instances where that makes room enough',
  })
})

it('what the host lacks carries its own fix, be it kernel, firmware, machine type, disks or an option', () => {
  const lacks = {
    kernel: capabilitiesOf({ kernel_parameters: { sev_es: 'N' } }),
    libvirt: capabilitiesOf({ libvirt_version: '7.0' }),
    firmware: capabilitiesOf({ firmware_features: ['amd-sev'] }),
    q35: capabilitiesOf({ has_q35: false }),
    disks: capabilitiesOf({ disk_buses: ['virtio'] }),
    option: limitSlots(capabilitiesOf({}), { ...NO_LIMITS, 'amd-sev-es': 0 }).capabilities,
  }

  const fixes = Object.values(lacks).map((host) => ofEs(host)?.split(': ').at(-1))

  expect(Object.fromEntries(Object.keys(lacks).map((name, index) => [name, fixes[index]]))).toEqual({
    kernel: 'load kvm_amd with sev_es=1',
    libvirt: 'libvirt >= 8.0 does, or set compute.num_sev_es_encrypted_guests to their number',
    firmware: 'install an OVMF that does, or set compute.uefi_loader',
    q35: 'install one that has it',
    disks: 'install its virtio-scsi',
    option: 'raise or remove it to offer SEV-ES',
  })
})

function capabilitiesOf(options: FakeHostOptions): HostCapabilities {
  return fakeCapabilities({ sev_slots: 15, sev_es_slots: 4, ...options })
}

/** Why the filter says no to a guest with SEV-ES. */
function ofEs(capabilities: HostCapabilities): string | undefined {
  const host = aHost('h1', { state: { missingModels: capabilities.missing } })
  return memEncryptionModel.reject(host, aRequest({ model: 'amd-sev-es' }))
}
