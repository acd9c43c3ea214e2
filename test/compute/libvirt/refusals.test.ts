import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance, type InstanceChanges } from '../support/instances.ts'

function build(changes: InstanceChanges, options: Partial<DomainOptions> = {}, host: Partial<HostCapabilities> = {}) {
  return buildDomain(guestSpec(anInstance(changes), { ...DEFAULT_DOMAIN_OPTIONS, ...options }), aCapableHost(host))
}

const withFix = (code: string) =>
  expect.objectContaining({ code, details: expect.objectContaining({ fix: expect.any(String) }) })

const REQUIRED = { os_secure_boot: 'required' }
const DRIVE = { img_config_drive: 'mandatory' }

describe('a guest that cannot be as asked is refused with the fix', () => {
  it.each<[string, string, InstanceChanges]>([
    ['secure boot by the image', 'SECURE_BOOT_NOT_SUPPORTED', { properties: REQUIRED }],
    ['secure boot of an encrypted guest', 'SECURE_BOOT_NOT_SUPPORTED', { model: 'amd-sev', properties: REQUIRED }],
    [
      'secure boot by the flavor',
      'SECURE_BOOT_NOT_SUPPORTED',
      { flavor: { extra_specs: { 'os:secure_boot': 'required' } } },
    ],
    ['secure boot that means nothing', 'INVALID_PROPERTY', { properties: { os_secure_boot: 'yes' } }],
    ['random numbers at no rate', 'INVALID_PROPERTY', { flavor: { extra_specs: { 'hw_rng:rate_bytes': '0' } } }],
    ['a config drive on IDE of q35', 'INVALID_PROPERTY', { properties: { ...DRIVE, hw_cdrom_bus: 'ide' } }],
    ['a CD-ROM on IDE of q35, though it may get none', 'INVALID_PROPERTY', { properties: { hw_cdrom_bus: 'ide' } }],
    ['a disk on IDE of q35', 'INVALID_PROPERTY', { properties: { hw_disk_bus: 'ide' } }],
    ['a kernel from outside', 'INVALID_PROPERTY', { properties: { kernel_id: 'k-1' } }],
  ])('%s', (_name, code, changes) => {
    expect(() => build(changes)).toThrow(withFix(code))
  })

  it.each<[string, InstanceChanges, Partial<DomainOptions>, Partial<HostCapabilities>]>([
    [
      'a host whose default machine has no IDE for the disk',
      { properties: { hw_machine_type: undefined, hw_disk_bus: 'ide' } },
      {},
      {},
    ],
    [
      'a host whose default machine has no IDE for the config drive',
      { properties: { ...DRIVE, hw_machine_type: undefined, hw_cdrom_bus: 'ide' } },
      {},
      {},
    ],
    [
      'a host that gives every guest a config drive, for one whose CD-ROM cannot be',
      { properties: { hw_machine_type: undefined, hw_cdrom_bus: 'ide' } },
      { forceConfigDrive: true },
      {},
    ],
    ['a host without UEFI', {}, {}, { supportsUefi: false }],
    ['a host whose firmware has no SEV', { model: 'amd-sev' }, {}, { firmwareFeatures: ['acpi-s3'] }],
    [
      'a host that names code without its variables',
      { model: 'amd-sev' },
      { firmwareFiles: { loader: '/code.fd', nvramTemplate: undefined, statelessLoader: '/stateless.fd' } },
      { supportsUefi: false },
    ],
    [
      'a host that names no stateless firmware for SEV-SNP',
      { model: 'amd-sev-snp' },
      { firmwareFiles: { loader: '/code.fd', nvramTemplate: '/vars.fd', statelessLoader: undefined } },
      { supportsUefi: false },
    ],
  ])('%s: another host may do', (_name, changes, options, host) => {
    expect(() => build(changes, options, host)).toThrow(withFix('HOST_CAPABILITY_MISSING'))
  })
})

describe('what is not refused', () => {
  it.each(['optional', 'disabled'])('is secure boot that is %s', (wish) => {
    expect(build({ properties: { os_secure_boot: wish } }).os.firmware).toEqual({ kind: 'efi', stateless: false })
  })

  it('is a config drive on IDE of the old machine, by nobody, by its image or by the host', () => {
    const pc = { ...DRIVE, hw_machine_type: 'pc' }
    const buses = [build({ properties: pc }), build({ properties: { ...pc, hw_cdrom_bus: 'ide' } })]
    const byHost = build({ properties: pc }, { cdromBus: 'ide' })

    expect([...buses, byHost].map(({ disks }) => disks[1])).toEqual(
      Array(3).fill(expect.objectContaining({ device: 'cdrom', bus: 'ide', target: 'hda' })),
    )
  })

  it.each([
    ['usbtablet', [{ type: 'tablet', bus: 'usb', iommu: false }]],
    ['ps2mouse', []],
  ])('is the older word for a pointer, %s', (hw_pointer_model, inputs) => {
    expect(build({ properties: { hw_pointer_model } }).inputs).toEqual(inputs)
  })

  it('is random numbers at a rate, in a second unless the flavor says otherwise', () => {
    const limited = build({ flavor: { extra_specs: { 'hw_rng:rate_bytes': '2048' } } })

    expect(limited.rng).toEqual({ source: '/dev/urandom', rate: { bytes: 2048, periodMs: 1000 }, iommu: false })
  })
})
