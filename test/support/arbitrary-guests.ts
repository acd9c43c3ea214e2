import fc from 'fast-check'
import type { Flavor } from '../../src/objects/flavor.ts'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { aFlavor, anImage } from './requests.ts'

/** How people spell the question, from nothing over both answers to what means nothing. */
const spelled = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom('true', 'True', 'YES', ' on', '1', 't', 'y') },
  { weight: 3, arbitrary: fc.constantFrom('false', 'No', 'off ', '0', 'n', 'f') },
  { weight: 1, arbitrary: fc.constantFrom('tru', '', '2', 'amd-sev', 'maybe') },
)
const model = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom('amd-sev', 'amd-sev-es', 'amd-sev-snp') },
  {
    weight: 12,
    arbitrary: fc.constantFrom('amd-sev-snp,amd-sev-es', 'amd-sev-es, amd-sev', 'amd-sev,amd-sev-snp,amd-sev-es'),
  },
  { weight: 1, arbitrary: fc.constantFrom('tdx', '', 'AMD-SEV', 'amd-sev,', 'amd-sev,amd-sev', 'amd-sev-es,tdx') },
)
/** @param percent how often it is there */
export const optional = <T>(arbitrary: fc.Arbitrary<T>, percent: number) =>
  fc.oneof({ weight: percent, arbitrary }, { weight: 100 - percent, arbitrary: fc.constant(undefined) })

const extraSpecs = fc.record({
  'hw:mem_encryption': optional(spelled, 60),
  'hw:mem_encryption_model': optional(model, 25),
  'resources:MEM_ENCRYPTION_CONTEXT': optional(fc.constantFrom('1', '1', '0', '2'), 15),
  'resources1:MEM_ENCRYPTION_CONTEXT': optional(fc.constant('1'), 2),
  hw_mem_encryption: optional(spelled, 2),
  'hw:memory_encryption': optional(spelled, 2),
  'hw:mem_encryption_policy': optional(fc.constant('0x0001'), 2),
  'trait:HW_CPU_X86_AMD_SEV': optional(fc.constantFrom('required', 'forbidden'), 3),
  'trait:HW_CPU_X86_AMD_SEV_ES': optional(fc.constantFrom('required', 'forbidden'), 3),
  'hw:mem_page_size': optional(fc.constantFrom('small', 'large', 'any', '2MB', '2048'), 70),
  'hw:locked_memory': optional(fc.constantFrom('true', 'false'), 15),
  'pci_passthrough:alias': optional(fc.constant('gpu:1'), 3),
  'hw_rng:allowed': optional(spelled, 5),
  'os:secure_boot': optional(fc.constantFrom('optional', 'required'), 3),
})
const properties = fc.record({
  hw_mem_encryption: optional(fc.oneof(spelled, fc.boolean()), 25),
  hw_mem_encryption_model: optional(model, 10),
  hw_firmware_type: optional(fc.constantFrom('uefi', 'uefi', 'uefi', 'uefi', 'uefi', 'bios'), 90),
  hw_firmware_stateless: optional(fc.boolean(), 60),
  hw_machine_type: optional(fc.constantFrom('q35', 'q35', 'pc-q35-8.2', 'pc'), 40),
  hw_disk_bus: optional(fc.constantFrom('scsi', 'sata', 'virtio', 'ide', 'fdc'), 20),
  hw_cdrom_bus: optional(fc.constantFrom('scsi', 'sata', 'ide'), 15),
  img_config_drive: optional(fc.constantFrom('mandatory', 'optional'), 20),
  hw_vif_model: optional(fc.constantFrom('virtio', 'e1000', 'VirtualE1000', 'netfront'), 10),
  hw_mem_page_size: optional(fc.constantFrom('small', '2MB'), 5),
  hw_locked_memory: optional(spelled, 5),
  kernel_id: optional(fc.constantFrom('', '', 'k-1'), 5),
  'trait:HW_CPU_X86_AMD_SEV_SNP': optional(fc.constant('required'), 2),
})
/** What somebody wants to boot. */
export type Guest = { readonly flavor: Flavor; readonly image: ImageMeta }
/** Flavors and images with every spelling, and every mistake now and then. */
export const guest: fc.Arbitrary<Guest> = fc
  .record({ extraSpecs, properties })
  .map(({ extraSpecs: specs, properties: image }) => ({
    flavor: aFlavor(withoutUndefined(specs)),
    image: anImage(withoutUndefined(image)),
  }))

/** Guests that several models would do for, and that nothing speaks against. */
export const guestOfSeveralModels: fc.Arbitrary<Guest> = fc
  .shuffledSubarray(['amd-sev', 'amd-sev-es', 'amd-sev-snp'], { minLength: 2 })
  .map((models) => ({
    flavor: aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': models.join() }),
    image: anImage({ hw_firmware_type: 'uefi', hw_firmware_stateless: true }),
  }))

export function withoutUndefined<T>(record: Readonly<Record<string, T | undefined>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter((entry): entry is [string, T] => entry[1] !== undefined))
}

/** In words of its own, so that it cannot err with the code: did anybody write, however he spells it, that he wants it? */
export function asksForEncryption({ flavor, image }: Guest): boolean {
  const saysYes = (value: unknown) => /^\s*(1|t|true|on|y|yes)\s*$/i.test(String(value))
  const wishes = Object.entries({ ...flavor.extra_specs, ...image.properties })
  return (
    wishes.some(([key, value]) => /mem(ory)?_encryption$/i.test(key) && saysYes(value)) ||
    wishes.some(([key, value]) => /^resources.*:MEM_ENCRYPTION_CONTEXT$/.test(key) && value === '1')
  )
}
