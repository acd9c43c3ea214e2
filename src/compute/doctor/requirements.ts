import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'

/** A version, as far as it is compared. */
type Version = `${number}.${number}`

/**
 * What each model needs at least. Sources: the spec ("Dependencies") for SEV; Linux, QEMU and libvirt release notes for the
 * others. Also the table in docs/operators.md.
 */
export const REQUIREMENTS: Readonly<Record<MemEncryptionModel, Readonly<Record<Part, Version>>>> = {
  'amd-sev': { kernel: '4.16', libvirt: '4.5', qemu: '2.12' },
  'amd-sev-es': { kernel: '5.11', libvirt: '8.0', qemu: '6.0' },
  'amd-sev-snp': { kernel: '6.11', libvirt: '10.5', qemu: '9.1' },
}

export type Part = 'kernel' | 'libvirt' | 'qemu'

/** @param found begins with a version: `6.1.0-18-amd64` */
export function isAtLeast(found: string, wanted: Version): boolean {
  const [major = 0, minor = 0] = numbers(found)
  const [wantedMajor = 0, wantedMinor = 0] = numbers(wanted)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

function numbers(version: string): readonly number[] {
  return /^\d+(\.\d+)*/.exec(version)?.[0].split('.').map(Number) ?? []
}
