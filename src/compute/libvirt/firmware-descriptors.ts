import { z } from 'zod'

/**
 * A firmware descriptor, as far as anybody asks. Source: QEMU's docs/interop/firmware.json; libvirt picks a guest's
 * firmware by them.
 */
const Descriptor = z.object({
  'interface-types': z.array(z.string()),
  mapping: z.object({ device: z.string() }),
  targets: z.array(z.object({ architecture: z.string(), machines: z.array(z.string()) })),
  features: z.array(z.string()),
})
export type FirmwareDescriptor = z.infer<typeof Descriptor>

/** A file of a folder of descriptors: its name decides what it overrides. */
export interface DescriptorFile {
  readonly name: string
  readonly text: string
}

/**
 * The descriptors that count. A file overrides those of its name in folders of lower rank, and an empty one hides them
 * (firmware.json, "Firmware search path"). What is none is left out, as libvirt does: others may do.
 *
 * @param folders highest rank first: `/etc/qemu/firmware` before `/usr/share/qemu/firmware`
 */
export function effectiveDescriptors(folders: readonly (readonly DescriptorFile[])[]): readonly FirmwareDescriptor[] {
  const files = new Map<string, string>()
  for (const folder of folders) {
    for (const { name, text } of folder) if (name.endsWith('.json') && !files.has(name)) files.set(name, text)
  }
  return [...files.values()].flatMap((text) => {
    const parsed = Descriptor.safeParse(parseJson(text))
    return parsed.success ? [parsed.data] : []
  })
}

/** What UEFI firmware for q35 guests of the architecture can do, all descriptors together: `amd-sev`, `amd-sev-es`, … */
export function firmwareFeatures(descriptors: readonly FirmwareDescriptor[], arch: string): readonly string[] {
  const usable = descriptors.filter(
    (descriptor) =>
      descriptor['interface-types'].includes('uefi') &&
      descriptor.targets.some(
        ({ architecture, machines }) => architecture === arch && machines.some((machine) => machine.includes('q35')),
      ),
  )
  return [...new Set(usable.flatMap(({ features }) => features))].toSorted()
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
