import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { disks } from '../../../src/compute/libvirt/configurators/disks.ts'
import { machine } from '../../../src/compute/libvirt/configurators/machine.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance, type InstanceChanges } from '../support/instances.ts'

const DRIVE = { img_config_drive: 'mandatory' }
const NO_MACHINE = { hw_machine_type: undefined }
const IMAGE = 'image debian-12 (155d900f-4e14-4e4c-a73d-069cbf4541e6)'
const INSTALL = 'install OVMF with firmware descriptors (/usr/share/qemu/firmware), or name its files in'

/** The message and the details of a refusal. */
function refusal(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    const { message, details } = error as Error & { details: unknown }
    return [message, details]
  }
}

describe('what only the host can refuse, word by word', () => {
  it.each<[InstanceChanges, Partial<DomainOptions>, Partial<HostCapabilities>, string, object]>([
    [
      { properties: { ...NO_MACHINE, hw_disk_bus: 'ide' } },
      {},
      {},
      'hw_disk_bus is ide, but q35, which the guest gets here, has no IDE; set hw_machine_type=pc or another hw_disk_bus on the image',
      { property: 'hw_disk_bus', value: 'ide', machine_type: 'q35' },
    ],
    [
      { properties: { ...NO_MACHINE, ...DRIVE, hw_cdrom_bus: 'ide' } },
      {},
      {},
      'hw_cdrom_bus is ide, but q35, which the guest gets here, has no IDE; set it to sata or scsi on the image, or remove it',
      { property: 'hw_cdrom_bus', value: 'ide', machine_type: 'q35' },
    ],
    [
      { properties: { hw_machine_type: 'pc-q35-2.4' } },
      {},
      { machineTypes: Array(60).fill('pc') },
      'this host has no machine type pc-q35-2.4; name another hw_machine_type on the image, or update QEMU on the host',
      { value: 'pc-q35-2.4', known: Array(50).fill('pc') },
    ],
    [
      { model: 'amd-sev', properties: NO_MACHINE },
      {},
      { defaultMachineType: 'pc' },
      'encrypted guests need machine type q35, but the host by default has pc; set hw_machine_type=q35 on the image, or make q35 the default machine type of the host',
      { property: 'hw_machine_type', value: 'pc' },
    ],
    [
      {},
      {},
      { supportsUefi: false },
      `this host has no UEFI firmware that libvirt knows; ${INSTALL} compute.uefi_loader and compute.uefi_nvram_template`,
      {},
    ],
    [
      { model: 'amd-sev-snp' },
      {},
      { supportsUefi: false },
      `this host has no UEFI firmware for SEV-SNP that libvirt knows; ${INSTALL} compute.uefi_stateless_loader`,
      {},
    ],
  ])('%j', (changes, options, host, message, details) => {
    const guest = guestSpec(anInstance(changes), { ...DEFAULT_DOMAIN_OPTIONS, ...options })
    const fix = message.slice(message.indexOf('; ') + 2)

    expect(refusal(() => buildDomain(guest, aCapableHost(host)))).toEqual([message, { ...details, fix }])
  })

  it('is a model without slots, for the reason that the host gives, if any', () => {
    const build = (host: Partial<HostCapabilities>) =>
      refusal(() => buildDomain(guestSpec(anInstance({ model: 'amd-sev-es' })), aCapableHost(host)))

    expect(build({ slots: {}, missing: { 'amd-sev-es': 'it is off' } })).toEqual([
      'this host offers no amd-sev-es: it is off',
      { model: 'amd-sev-es', reason: 'it is off' },
    ])
    expect(build({ slots: {} })).toEqual([
      'this host offers no amd-sev-es: it reports no slots',
      { model: 'amd-sev-es', reason: 'it reports no slots' },
    ])
  })

  it('is what a request that got past everybody asks for', () => {
    const guest = guestSpec(anInstance({ model: 'amd-sev' }))
    const domain = buildDomain(guest, aCapableHost())
    const withProperties = (properties: Record<string, string>) => ({ ...guest, image: { ...guest.image, properties } })

    expect(refusal(() => disks(domain, withProperties({ hw_disk_bus: 'ide' }), aCapableHost()))).toEqual([
      `${IMAGE} has hw_disk_bus=ide, from which an encrypted guest cannot boot; set hw_disk_bus=scsi or remove it`,
      { property: 'hw_disk_bus', value: 'ide', fix: 'set hw_disk_bus=scsi or remove it' },
    ])
    expect(refusal(() => machine(domain, withProperties({ hw_machine_type: 'pc' }), aCapableHost()))).toEqual([
      `encrypted guests need machine type q35, but ${IMAGE} has pc; set hw_machine_type=q35 on the image`,
      { property: 'hw_machine_type', value: 'pc', fix: 'set hw_machine_type=q35 on the image' },
    ])
  })
})
