import type { CatalogueGuest, DoctorOptions } from '../compute/doctor/doctor-options.ts'
import type { Config } from '../config.ts'
import type { Flavor } from '../objects/flavor.ts'
import { ImageMeta } from '../objects/image-meta.ts'
import type { MemEncryption, MemEncryptionModel } from '../objects/mem-encryption.ts'
import { memEncryptionRequest } from '../objects/mem-encryption-request.ts'
import { domainOptions, hostOptions, slotLimits } from './host-options.ts'

/** What the configuration wants of its host. @param required models that it must offer */
export function doctorOptions(config: Config, required: readonly MemEncryptionModel[]): DoctorOptions {
  return {
    uri: config.libvirt.uri,
    hostOptions: hostOptions(config),
    network: domainOptions(config.compute).network,
    configDriveFormat: config.compute.config_drive_format,
    instancesPath: config.compute.instances_path,
    limits: slotLimits(config.compute),
    resources: config.compute,
    overheadMb: config.scheduler.mem_encryption_overhead_mb,
    guests: catalogueGuests(config),
    required,
  }
}

/** One that is fit for every model, and asks for none. */
const FIT_IMAGE = ImageMeta.parse({
  name: 'any',
  properties: { hw_firmware_type: 'uefi', hw_firmware_stateless: true, hw_machine_type: 'q35' },
})

/** Encrypted guests that flavors and images of the catalogue make together. */
function catalogueGuests({ flavors, images }: Config): readonly CatalogueGuest[] {
  const found = new Map<string, CatalogueGuest>()
  for (const flavor of Object.values(flavors)) {
    for (const image of [FIT_IMAGE, ...Object.values(images)]) {
      for (const { model } of encryptionsOf(flavor, image)) {
        found.set(`${flavor.name} ${model}`, { flavor: flavor.name, memoryMb: flavor.memory_mb, model })
      }
    }
  }
  return [...found.values()]
}

/** Pairs that do not go together make no guest. */
function encryptionsOf(flavor: Flavor, image: ImageMeta): readonly MemEncryption[] {
  try {
    return memEncryptionRequest(flavor, image)
  } catch {
    return []
  }
}
