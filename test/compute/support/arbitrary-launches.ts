import fc from 'fast-check'
import type { DomainCapabilities } from '../../../src/compute/libvirt/domain-capabilities.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import type { FirmwareDescriptor } from '../../../src/compute/libvirt/firmware-descriptors.ts'
import type { HostFacts } from '../../../src/compute/libvirt/host-capabilities.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from './hosts.ts'

const ALL_MODELS: readonly MemEncryptionModel[] = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']

/** Any of which will do. */
const SEVERAL = ['amd-sev-snp,amd-sev-es', 'amd-sev-es, amd-sev'] as const

/** Mostly what works, so that guests are built at all; the rest is what somebody will write some day. */
const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, ...others.map((value) => fc.constant(value)))
/** Absent four times out of five. */
const seldom = <T>(...values: T[]) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.constantFrom(...values))

const YES = ['true', 'True', '1', 'yes', 'on', 't', 'y', ' TRUE ']
const NO = ['false', 'False', '0', 'no', 'off', 'f', 'n']
const asked = fc.oneof(fc.constantFrom(...YES), fc.constant(undefined), fc.constant(undefined), fc.constantFrom(...NO))

const flavorSpecs = fc.record({
  'hw:mem_encryption': asked,
  'hw:mem_encryption_model': fc.option(fc.constantFrom(...ALL_MODELS, ...SEVERAL), { nil: undefined }),
  'resources:MEM_ENCRYPTION_CONTEXT': mostly<string | undefined>(undefined, '1', '2'),
  'hw:mem_page_size': seldom('small', 'large', 'any', '2MB', '1GB', '2048', 'huge'),
  'hw:locked_memory': mostly<string | undefined>(undefined, 'true', 'false'),
  'hw_rng:allowed': seldom('true', 'false'),
  'hw_rng:rate_bytes': seldom('1024', '2048'),
})
const imageProperties = fc.record({
  hw_mem_encryption: asked,
  hw_mem_encryption_model: seldom(...ALL_MODELS),
  hw_firmware_type: mostly<string | undefined>('uefi', 'bios', undefined),
  hw_firmware_stateless: mostly<string | undefined>('true', undefined),
  hw_machine_type: mostly<string | undefined>('q35', 'pc', 'pc-q35-9.2', undefined),
  hw_disk_bus: mostly<string | undefined>(undefined, 'virtio', 'scsi', 'sata', 'ide', 'usb', 'fdc'),
  hw_scsi_model: seldom('virtio-scsi', 'lsilogic'),
  hw_cdrom_bus: seldom('sata', 'scsi', 'virtio', 'usb', 'ide'),
  img_config_drive: seldom('mandatory', 'optional'),
  hw_vif_model: seldom('virtio', 'e1000', 'rtl8139', 'VirtualE1000'),
  hw_video_model: seldom('virtio', 'vga', 'none'),
  hw_input_bus: seldom('virtio', 'usb'),
  hw_pointer_model: seldom('usbtablet'),
  hw_qemu_guest_agent: seldom(...YES, ...NO),
  os_secure_boot: mostly<string | undefined>(undefined, 'optional'),
  kernel_id: mostly<string | undefined>(undefined, ''),
})

/** What somebody sends, every word of it his own. */
export const requests = fc.record({
  specs: flavorSpecs,
  properties: imageProperties,
  disks: fc.record({ ephemeral_gb: fc.constantFrom(0, 5), swap: fc.constantFrom(0, 512) }),
  /** What the message claims, where it is not what the conductor decides. */
  lie: seldom<MemEncryptionModel | null>(...ALL_MODELS, null),
})
export type Request = typeof requests extends fc.Arbitrary<infer R> ? R : never

const firmwareFiles = mostly(
  DEFAULT_DOMAIN_OPTIONS.firmwareFiles,
  { loader: '/code.fd', nvramTemplate: '/vars.fd', statelessLoader: undefined },
  { loader: undefined, nvramTemplate: undefined, statelessLoader: '/stateless.fd' },
  { loader: '/code.fd', nvramTemplate: '/vars.fd', statelessLoader: '/stateless.fd' },
  { loader: '/code.fd', nvramTemplate: undefined, statelessLoader: undefined },
)

/** What an operator may decide. */
export const domainOptions: fc.Arbitrary<DomainOptions> = fc
  .record({
    configDriveFormat: fc.constantFrom('iso9660' as const, 'vfat' as const),
    forceConfigDrive: fc.boolean(),
    cdromBus: mostly<DomainOptions['cdromBus']>(undefined, 'sata', 'scsi', 'virtio', 'usb', 'ide'),
    numPciePorts: fc.constantFrom(0, 4),
    memStatsPeriodSeconds: mostly(10, 0),
    firmwareFiles,
  })
  .map((options) => ({ ...DEFAULT_DOMAIN_OPTIONS, ...options }))

const FEATURES: readonly string[] = ['acpi-s3', 'amd-sev', 'amd-sev-es', 'amd-sev-snp']
const machineTypes = mostly(['q35', 'pc', 'pc-q35-9.2'], ['pc'], ['pc', 'pc-q35-9.2'])

const offered: fc.Arbitrary<readonly MemEncryptionModel[]> = fc.oneof(
  fc.constant(ALL_MODELS),
  fc.subarray([...ALL_MODELS]),
)

/** Hosts that say anything, whether it fits together or not. */
export const hosts = fc
  .record({
    supportsUefi: mostly(true, false),
    defaultMachineType: mostly('q35', 'pc'),
    machineTypes,
    firmwareFeatures: fc.oneof(fc.constant(undefined), fc.constant(FEATURES), fc.subarray([...FEATURES])),
    offered,
    cbitpos: mostly<number | undefined>(51, 47, undefined),
  })
  .map(({ offered: models, firmwareFeatures, ...host }) =>
    aCapableHost({
      ...host,
      ...(firmwareFeatures && { firmwareFeatures }),
      slots: Object.fromEntries(models.map((name) => [name, 15])),
    }),
  )

const document: fc.Arbitrary<DomainCapabilities> = fc.record({
  arch: fc.constant('x86_64'),
  machine: mostly('pc-q35-9.2', 'pc-i440fx-9.2'),
  firmware: mostly(['efi'], ['bios', 'efi'], []),
  diskBuses: mostly<readonly string[] | undefined>(['virtio', 'scsi', 'sata'], undefined, ['virtio', 'sata']),
  sev: fc.record({
    supported: mostly(true, false),
    cbitpos: mostly<number | undefined>(51, undefined),
    reducedPhysBits: mostly<number | undefined>(1, undefined),
    maxGuests: mostly<number | undefined>(410, 0, undefined),
    maxEsGuests: mostly<number | undefined>(99, 0, undefined),
  }),
  launchSecurityTypes: mostly<readonly string[] | undefined>(['sev', 'sev-snp'], ['sev'], undefined),
})

/** Builds that keep variables, or do both; one that is stateless alone would be offered to guests that ask for it. */
const descriptor: fc.Arbitrary<FirmwareDescriptor> = fc.record({
  'interface-types': mostly(['uefi'], ['bios']),
  mapping: fc.constantFrom<FirmwareDescriptor['mapping']>({ device: 'flash', mode: 'split' }, { device: 'memory' }),
  targets: mostly(
    [{ architecture: 'x86_64', machines: ['pc-i440fx-*', 'pc-q35-*'] }],
    [{ architecture: 'x86_64', machines: ['q35'] }],
  ),
  features: fc.oneof(fc.constant<string[]>([...FEATURES]), fc.subarray<string>([...FEATURES, 'secure-boot'])),
})

/** What hosts tell about themselves, of which it is decided what they offer. */
export const hostFacts: fc.Arbitrary<HostFacts & Required<Pick<HostFacts, 'firmwareFiles'>>> = fc.record({
  arch: mostly('x86_64', 'aarch64'),
  defaultMachineType: fc.constantFrom('q35', 'pc'),
  machineTypes,
  documents: fc.array(document, { minLength: 0, maxLength: 2 }),
  kernel: fc.record({
    sev: mostly('Y', '0'),
    sev_es: fc.constantFrom('1', 'N'),
    sev_snp: fc.constantFrom('Y', undefined),
  }),
  descriptors: fc.option(fc.array(descriptor, { maxLength: 3 }), { nil: undefined }),
  firmwareFiles,
})
