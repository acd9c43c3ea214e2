import { Flavor } from '../../src/objects/flavor.ts'
import { ImageMeta } from '../../src/objects/image-meta.ts'

/** Flavors and images as an API tier sends them. */
export function aFlavor(extra_specs: Record<string, string> = {}, changes: Partial<Flavor> = {}): Flavor {
  return Flavor.parse({
    flavorid: 'f1',
    name: 'm1.test',
    vcpus: 1,
    memory_mb: 1024,
    root_gb: 10,
    extra_specs,
    ...changes,
  })
}

export function anImage(
  properties: ImageMeta['properties'] = { hw_firmware_type: 'uefi', hw_machine_type: 'q35' },
): ImageMeta {
  return ImageMeta.parse({
    id: '11111111-2222-3333-4444-555555555555',
    name: 'linux',
    disk_format: 'qcow2',
    properties,
  })
}

export const sevFlavor = aFlavor({ 'hw:mem_encryption': 'true' })
export const plainFlavor = aFlavor()
