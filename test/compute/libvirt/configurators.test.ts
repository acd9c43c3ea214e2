import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { freeTarget } from '../../../src/compute/libvirt/configurators/disk-targets.ts'
import { disks } from '../../../src/compute/libvirt/configurators/disks.ts'
import { machine } from '../../../src/compute/libvirt/configurators/machine.ts'
import { metadata } from '../../../src/compute/libvirt/configurators/metadata.ts'
import {
  DEFAULT_DOMAIN_OPTIONS,
  type DomainOptions,
  NO_FIRMWARE_FILES,
} from '../../../src/compute/libvirt/domain-options.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { type GuestSpec, guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import { attribute, child, parseXml, textOf } from '../../../src/compute/libvirt/parse-xml.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const host = aCapableHost()
const encrypted = () => guestSpec(anInstance({ model: 'amd-sev' }))
const plain = () => guestSpec(anInstance())
const domain = () => buildDomain(encrypted(), host)

function withProperties(guest: GuestSpec, properties: Record<string, string>) {
  return { ...guest, image: { ...guest.image, properties: { ...guest.image.properties, ...properties } } }
}

describe('configurators hold their rule by themselves, whoever let the guest pass', () => {
  it.each(['virtio', 'ide'])('no encrypted guest boots from %s', (bus) => {
    expect(() => disks(domain(), withProperties(encrypted(), { hw_disk_bus: bus }), host)).toThrow(
      expect.objectContaining({ code: 'FLAVOR_IMAGE_CONFLICT' }),
    )
  })

  it('a plain guest boots from what its image names', () => {
    expect(disks(domain(), withProperties(plain(), { hw_disk_bus: 'sata' }), host).disks[0]?.bus).toBe('sata')
  })

  it('no encrypted guest runs on another machine than q35: an image that names one is wrong everywhere', () => {
    expect(() => machine(domain(), withProperties(encrypted(), { hw_machine_type: 'pc' }), host)).toThrow(
      expect.objectContaining({ code: 'INVALID_MACHINE_TYPE' }),
    )
  })

  it('a guest without image names says so in its document', () => {
    const nameless = { ...plain(), image: { ...plain().image, id: null, name: null } }

    expect(metadata(domain(), nameless, host).metadata).toMatchObject({ imageId: undefined, imageName: undefined })
  })
})

describe('what an image and a flavor say shows in the domain', () => {
  it('a card, a screen and inputs that are not of virtio, beside those that are', () => {
    const emulated = { hw_vif_model: 'e1000', hw_video_model: 'vga', hw_input_bus: 'usb' }
    const made = buildDomain(guestSpec(anInstance({ model: 'amd-sev', properties: emulated })), host)

    expect(made.interfaces).toEqual([expect.objectContaining({ model: 'e1000', iommu: false })])
    expect(made.video).toEqual({ model: 'vga', iommu: false })
    expect(made.inputs.map(({ bus, iommu }) => [bus, iommu])).toEqual([
      ['usb', false],
      ['usb', false],
    ])
  })

  it('a root disk always, though the flavor gives it no size, and others only with one', () => {
    const made = buildDomain(guestSpec(anInstance({ flavor: { root_gb: 0, swap: 64 } })), host)

    expect(made.disks.map(({ role, target, sizeMib }) => [role, target, sizeMib])).toEqual([
      ['root', 'vda', 0],
      ['swap', 'vdb', 64],
    ])
  })

  it('a config drive is named after its role, and after the last disk of its bus', () => {
    const properties = { img_config_drive: 'mandatory', hw_disk_bus: 'usb', hw_cdrom_bus: 'usb' }
    const made = buildDomain(guestSpec(anInstance({ properties })), host)

    expect(made.disks.map(({ role, target }) => [role, target])).toEqual([
      ['root', 'sda'],
      ['config drive', 'sdb'],
    ])
  })

  it.each([
    [undefined, 'q35', 'sata'],
    ['ide', 'q35', 'sata'],
    ['ide', 'pc', 'ide'],
    [undefined, 'pc', 'ide'],
    ['usb', 'q35', 'usb'],
    ['sata', 'pc', 'sata'],
  ] as const)('a CD-ROM of a host with compute.cdrom_bus %s, on %s, is on %s', (cdromBus, machineType, bus) => {
    const properties = { img_config_drive: 'mandatory', hw_machine_type: machineType }
    const options = { ...DEFAULT_DOMAIN_OPTIONS, cdromBus }

    expect(buildDomain(guestSpec(anInstance({ properties }), options), host).disks.at(-1)).toMatchObject({
      role: 'config drive',
      bus,
    })
  })

  it.each([
    [{ kind: 'network', network: 'lab' }, ['lab']],
    [{ kind: 'bridge', bridge: 'br0' }, ['br0']],
    [{ kind: 'none' }, []],
  ] as const)('interfaces are where the host has its guests: %o', (network, places) => {
    const made = buildDomain(guestSpec(anInstance(), { ...DEFAULT_DOMAIN_OPTIONS, network }), host)

    expect(made.interfaces.map(({ source }) => Object.values(source)[1])).toEqual(places)
  })

  it.each([
    ['small', undefined],
    ['4', undefined],
    ['any', undefined],
    ['large', 'default'],
    ['2MB', { kib: 2048 }],
  ])('pages by hw:mem_page_size=%s', (size, hugepages) => {
    const made = buildDomain(guestSpec(anInstance({ flavor: { extra_specs: { 'hw:mem_page_size': size } } })), host)

    expect(made.memoryBacking).toEqual({ locked: false, hugepages, shared: false })
  })

  it.each([
    ['amd-sev', { type: 'sev', policy: '0x0033' }],
    ['amd-sev-es', { type: 'sev', policy: '0x0037' }],
    ['amd-sev-snp', { type: 'sev-snp', policy: '0x00030000' }],
  ] as const)('%s has the C-bit of the host in its document, when the host tells it', (model, expected) => {
    const made = buildDomain(guestSpec(anInstance({ model })), host)
    const { cbitpos: _, reducedPhysBits: __, ...silent } = host

    expect(made.launchSecurity).toEqual({ ...expected, cbitpos: 51, reducedPhysBits: 1 })
    expect(buildDomain(guestSpec(anInstance({ model })), silent).launchSecurity).toEqual(expected)
  })

  it('firmware by name is a ROM for SEV-SNP, which has no flash, and flash for who keeps nothing else', () => {
    const statelessLoader = '/amdsev.fd'
    const options = { ...DEFAULT_DOMAIN_OPTIONS, firmwareFiles: { ...NO_FIRMWARE_FILES, statelessLoader } }
    const bare = aCapableHost({ firmwareFeatures: [], statelessFirmwareFeatures: [] })
    const firmwareOf = (model: MemEncryptionModel) =>
      buildDomain(guestSpec(anInstance({ model, properties: { hw_firmware_stateless: 'true' } }), options), bare).os
        .firmware

    expect(firmwareOf('amd-sev-snp')).toEqual({ kind: 'rom', loader: statelessLoader })
    expect(firmwareOf('amd-sev-es')).toEqual({ kind: 'files', loader: statelessLoader, nvram: undefined })
  })

  it('firmware keeps nothing where nothing may be kept, and UEFI is for who needs it', () => {
    const snp = guestSpec(anInstance({ model: 'amd-sev-snp' }))
    const bypassed = { ...snp, image: { ...snp.image, properties: { hw_firmware_type: 'uefi' } } }
    const none = guestSpec(anInstance({ properties: { hw_firmware_type: undefined } }))

    expect(buildDomain(bypassed, host).os.firmware).toEqual({ kind: 'efi', stateless: true })
    expect(buildDomain(none, host).os.firmware).toEqual({ kind: 'bios' })
    const bare = aCapableHost({ firmwareFeatures: [], statelessFirmwareFeatures: [] })
    expect(buildDomain(plain(), bare).os.firmware).toEqual({ kind: 'efi', stateless: false })
  })

  it("an image without a machine type gets the host's, however it says so", () => {
    const guest = guestSpec(anInstance())
    const open = {
      ...guest,
      image: { ...guest.image, properties: { hw_firmware_type: 'uefi', hw_machine_type: null } },
    }

    expect(buildDomain(open, aCapableHost({ defaultMachineType: 'pc-q35-9.2' })).os.machine).toBe('pc-q35-9.2')
  })
})

describe('names of disks', () => {
  it('go on after the alphabet as Linux counts', () => {
    const taken: { target: string }[] = []
    for (let count = 0; count < 28; count++) taken.push({ target: freeTarget(taken, 'scsi') })

    expect(taken.slice(0, 2).concat(taken.slice(25))).toEqual(
      ['sda', 'sdb', 'sdz', 'sdaa', 'sdab'].map((target) => ({ target })),
    )
    expect(['virtio', 'ide', 'usb'].map((bus) => freeTarget([], bus as 'usb'))).toEqual(['vda', 'hda', 'sda'])
  })
})

describe('the processor of a guest is the operator’s choice', () => {
  const documentWith = (options: Partial<DomainOptions>) => {
    const guest = guestSpec(anInstance(), { ...DEFAULT_DOMAIN_OPTIONS, ...options })
    const root = parseXml(domainXml(buildDomain(guest, host)), 'domain', 'the domain')
    const cpu = child(root, 'cpu')
    return {
      type: attribute(root, 'type'),
      mode: attribute(cpu, 'mode'),
      check: attribute(cpu, 'check'),
      model: textOf(child(cpu, 'model')),
    }
  }

  it.each<[Partial<DomainOptions>, object]>([
    [{}, { type: 'kvm', mode: 'host-model', check: 'partial' }],
    [{ virtType: 'qemu' }, { type: 'qemu' }],
    [
      { virtType: 'qemu', cpuMode: 'host-model' },
      { type: 'qemu', mode: 'host-model', check: 'partial' },
    ],
    [{ cpuMode: 'none' }, { type: 'kvm' }],
    [{ cpuMode: 'host-passthrough' }, { type: 'kvm', mode: 'host-passthrough', check: 'none' }],
    [
      { cpuMode: 'custom', cpuModel: 'EPYC-Milan' },
      { type: 'kvm', mode: 'custom', check: 'partial', model: 'EPYC-Milan' },
    ],
    [{ cpuMode: 'custom' }, { type: 'kvm' }],
  ])('%j', (options, expected) => {
    expect(documentWith(options)).toEqual({ mode: undefined, check: undefined, model: undefined, ...expected })
  })
})
