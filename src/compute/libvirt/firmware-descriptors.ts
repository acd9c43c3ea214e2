import { z } from 'zod'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import { matchesGlob } from './glob.ts'

/**
 * A firmware descriptor, as far as anybody asks. Source: QEMU's docs/interop/firmware.json; libvirt picks a guest's
 * firmware by them.
 */
const Descriptor = z.object({
  'interface-types': z.array(z.string()),
  mapping: z.discriminatedUnion('device', [
    z.object({ device: z.literal('flash'), mode: z.enum(['split', 'combined', 'stateless']).default('split') }),
    z.object({ device: z.enum(['memory', 'kernel']) }),
  ]),
  targets: z.array(z.object({ architecture: z.string(), machines: z.array(z.string()) })),
  features: z.array(z.string().min(1).max(255)).max(100),
})
export type FirmwareDescriptor = z.infer<typeof Descriptor>

/**
 * SEV-SNP needs firmware in memory. Flash is memory that is only read, and since Linux 6.11, the first that runs SNP
 * guests, KVM has none for guests whose state it cannot see (commit 66155de93bcf); QEMU then ends with "pflash with kvm
 * requires KVM readonly memory support". libvirt does not look, and descriptors with `amd-sev-snp` on flash exist.
 */
const SNP = MEM_ENCRYPTION_MODELS['amd-sev-snp'].firmwareFeature

/** A file of a folder of descriptors: its name decides what it overrides. */
export interface DescriptorFile {
  readonly name: string
  readonly text: string
}

/**
 * The descriptors that count, in libvirt's order, which is that of their names: the first that fits is taken. A file
 * overrides those of its name in folders of lower rank, and an empty one hides them (firmware.json, "Firmware search
 * path"). What is none is left out, as libvirt does: others may do.
 *
 * @param folders highest rank first: `/etc/qemu/firmware` before `/usr/share/qemu/firmware`
 */
export function effectiveDescriptors(folders: readonly (readonly DescriptorFile[])[]): readonly FirmwareDescriptor[] {
  const files = new Map<string, string>()
  for (const folder of folders) {
    for (const { name, text } of folder) if (name.endsWith('.json') && !files.has(name)) files.set(name, text)
  }
  const names = [...files.keys()].toSorted()
  return names.flatMap((name) => {
    const parsed = Descriptor.safeParse(parseJson(files.get(name) ?? ''))
    return parsed.success ? [parsed.data] : []
  })
}

/** UEFI firmware that libvirt can pick for a guest by itself: what one descriptor comes to. */
export interface UefiFirmware {
  /** For guests that keep their variables. */
  readonly keepsVariables: boolean
  /** For guests that ask for stateless firmware. */
  readonly stateless: boolean
  /** QEMU copies it into the guest's memory (`-bios`), and does not map it as flash. */
  readonly isInMemory: boolean
  readonly features: readonly string[]
}

/**
 * What libvirt can pick from for a machine type, an item for each descriptor, by its own rules (qemu_firmware.c): the
 * concrete machine matches a pattern; a stateless guest gets no flash but stateless one, any other none but split; firmware
 * in memory does for both. No guest here asks for secure boot, and libvirt is told so.
 *
 * @param machine concrete, not an alias: `pc-q35-9.2`
 */
export function uefiFirmware(
  descriptors: readonly FirmwareDescriptor[],
  arch: string,
  machine: string,
): readonly UefiFirmware[] {
  return descriptors.flatMap(({ 'interface-types': interfaces, mapping, targets, features }) => {
    const isFor = targets.some(
      (target) => target.architecture === arch && target.machines.some((pattern) => matchesGlob(pattern, machine)),
    )
    if (!isFor || !interfaces.includes('uefi') || features.includes('secure-boot')) return []
    const isInMemory = mapping.device === 'memory'
    const mode = mapping.device === 'flash' ? mapping.mode : undefined
    const keepsVariables = isInMemory || mode === 'split'
    const stateless = isInMemory || mode === 'stateless'
    return keepsVariables || stateless ? [{ keepsVariables, stateless, isInMemory, features: usable(features) }] : []
  })
}

/** libvirt asks for SEV too where a guest has SEV-ES: of a descriptor without, it takes neither. */
function usable(features: readonly string[]): readonly string[] {
  return features.includes('amd-sev') ? features : features.filter((feature) => feature !== 'amd-sev-es')
}

/** Features that guests can count on, of any of them, each once. */
export function featuresOf(firmware: readonly UefiFirmware[]): readonly string[] {
  const all = [...new Set(firmware.flatMap(({ features }) => features))].toSorted()
  // libvirt takes the first that has it, whatever comes after.
  const ofSnp = firmware.find(({ features }) => features.includes(SNP))
  return ofSnp?.isInMemory === false ? all.filter((feature) => feature !== SNP) : all
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
