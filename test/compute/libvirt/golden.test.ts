import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import { domainXml } from '../../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { attribute, child, parseXml, textOf } from '../../../src/compute/libvirt/parse-xml.ts'
import { runs } from '../../support/runs.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance, type InstanceChanges } from '../support/instances.ts'

const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'

/** Firmware as an operator names it where libvirt finds none. */
const FILES: Partial<DomainOptions> = {
  firmwareFiles: {
    loader: '/usr/share/OVMF/OVMF_CODE_4M.fd',
    nvramTemplate: '/usr/share/OVMF/OVMF_VARS_4M.fd',
    statelessLoader: '/usr/share/OVMF/OVMF.amdsev.fd',
  },
}
const WITHOUT_DESCRIPTORS: Partial<HostCapabilities> = { firmwareFeatures: [], statelessFirmwareFeatures: [] }

interface Guest extends InstanceChanges {
  readonly options?: Partial<DomainOptions>
  readonly host?: Partial<HostCapabilities>
}

/** Everything of virtio that an image can ask for. */
const ALL_DEVICES = {
  hw_qemu_guest_agent: 'yes',
  hw_input_bus: 'virtio',
  hw_vif_model: 'virtio',
  hw_video_model: 'virtio',
  img_config_drive: 'mandatory',
}

/**
 * The whole documents stand in test/compute/golden: read the difference, then `npx vitest run test/compute -u` writes
 * them anew. `golden-by-libvirt.test.ts` asks libvirt about each of them.
 */
const GUESTS: Readonly<Record<string, Guest>> = {
  sev: { model: 'amd-sev' },
  'sev-es': { model: 'amd-sev-es' },
  'sev-snp': { model: 'amd-sev-snp' },
  'sev-sata-agent': { model: 'amd-sev', properties: { hw_disk_bus: 'sata', hw_qemu_guest_agent: 'yes' } },
  'sev-many-disks': { model: 'amd-sev', flavor: { ephemeral_gb: 10, swap: 512 } },
  'sev-all-devices': { model: 'amd-sev', properties: ALL_DEVICES, options: { numPciePorts: 4 } },
  'sev-es-config-drive-vfat': {
    model: 'amd-sev-es',
    options: { forceConfigDrive: true, configDriveFormat: 'vfat' },
  },
  'sev-cdrom-scsi': { model: 'amd-sev', properties: { img_config_drive: 'mandatory', hw_cdrom_bus: 'scsi' } },
  'sev-huge-pages': {
    model: 'amd-sev',
    flavor: {
      extra_specs: { 'hw:mem_encryption': 'true', 'hw:mem_page_size': '2MB', 'hw:locked_memory': 'true' },
    },
  },
  'sev-lsilogic': { model: 'amd-sev', properties: { hw_scsi_model: 'lsilogic' } },
  'sev-es-named-firmware': { model: 'amd-sev-es', options: FILES, host: WITHOUT_DESCRIPTORS },
  'sev-snp-named-firmware': { model: 'amd-sev-snp', options: FILES, host: WITHOUT_DESCRIPTORS },
  'sev-without-balloon-rng-video': {
    model: 'amd-sev',
    flavor: { extra_specs: { 'hw:mem_encryption': 'true', 'hw_rng:allowed': 'false' } },
    properties: { hw_video_model: 'none' },
    options: { memStatsPeriodSeconds: 0 },
  },
  'plain-q35-uefi': {},
  'plain-q35-uefi-all-devices': { properties: { ...ALL_DEVICES, hw_firmware_stateless: 'true' } },
  'plain-q35-bios': { properties: { hw_firmware_type: 'bios' } },
  'plain-pc-uefi': { properties: { hw_machine_type: 'pc' } },
  'plain-pc-bios': { properties: { hw_machine_type: 'pc', hw_firmware_type: 'bios' } },
  'plain-pc-bios-config-drive': {
    properties: { hw_machine_type: 'pc', hw_firmware_type: 'bios', img_config_drive: 'mandatory' },
  },
  'plain-large-pages-rng-rate': {
    flavor: { extra_specs: { 'hw:mem_page_size': 'large', 'hw_rng:rate_bytes': '1024', 'hw_rng:rate_period': '500' } },
  },
}

function goldenXml({ options, host, ...changes }: Guest): string {
  const guest = guestSpec(anInstance({ uuid: UUID, ...changes }), { ...DEFAULT_DOMAIN_OPTIONS, ...options })
  return domainXml(buildDomain(guest, aCapableHost(host)))
}

describe('the domain document', () => {
  it.each(Object.entries(GUESTS))('of a guest %s is the golden one', async (name, changes) => {
    const xml = goldenXml(changes)

    await expect(`${xml}\n`).toMatchFileSnapshot(`../golden/${name}.xml`)
  })

  it('leaves out cbitpos and reducedPhysBits when the host does not tell them', () => {
    const host = aCapableHost({ cbitpos: undefined, reducedPhysBits: undefined })

    const xml = domainXml(buildDomain(guestSpec(anInstance({ model: 'amd-sev' })), host))

    expect(xml).toContain('<launchSecurity type="sev">\n    <policy>0x0033</policy>\n  </launchSecurity>')
  })

  it('escapes names, whatever their owners call their things', () => {
    const instance = { ...anInstance(), name: `<a b="c">&'` }

    const xml = domainXml(buildDomain(guestSpec(instance), aCapableHost()))

    expect(xml).toContain('<sevbus:name>&lt;a b="c"&gt;&amp;\'</sevbus:name>')
  })

  it('gives back every name as it was, whatever its owner wrote into it', () => {
    const nasty = fc.string({
      unit: fc.constantFrom('&', '&lt;', '&#10;', '<', '>', '"', "'", ']]>', '\n', '\t', 'é', '🦊', 'a', ' '),
    })
    fc.assert(
      fc.property(nasty, nasty, (name, flavor) => {
        const instance = { ...anInstance(), name: `x${name}x` }
        const guest = guestSpec({ ...instance, flavor: { ...instance.flavor, name: `x${flavor}x` } })

        const domain = parseXml(domainXml(buildDomain(guest, aCapableHost())), 'domain', 'the domain')

        const metadata = child(domain, 'metadata', 'sevbus:instance')
        expect([textOf(child(metadata, 'sevbus:name')), attribute(child(metadata, 'sevbus:flavor'), 'name')]).toEqual([
          `x${name}x`,
          `x${flavor}x`,
        ])
      }),
      { numRuns: runs(200) },
    )
  })

  it('refuses characters that XML cannot carry, by name', () => {
    const instance = { ...anInstance(), name: 'bell\u0007' }

    expect(() => domainXml(buildDomain(guestSpec(instance), aCapableHost()))).toThrow(
      expect.objectContaining({ code: 'INVALID_DOMAIN_XML' }),
    )
  })
})
