import { refuseStatelessBios } from './firmware-request.ts'
import type { Flavor } from './flavor.ts'
import type { ImageMeta } from './image-meta.ts'
import type { MemEncryption } from './mem-encryption.ts'
import { memEncryptionRequest } from './mem-encryption-request.ts'
import { type MemoryBacking, memoryBacking } from './memory-backing.ts'

/** All that flavor and image decide together about a launch. */
export interface LaunchRequest {
  /** Undefined: the guest runs in clear. */
  readonly encryption: MemEncryption | undefined
  readonly memoryBacking: MemoryBacking
}

/**
 * The one door for flavor and image: conductor, host and command line ask here, and so refuse alike. Encryption is
 * judged first, as in Nova.
 *
 * @throws FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired, InvalidProperty, MemoryPageSizeInvalid,
 *   MemoryPageSizeForbidden, FlavorImageLockedMemoryConflict, LockMemoryForbidden
 */
export function launchRequest(flavor: Flavor, image: ImageMeta): LaunchRequest {
  const encryption = memEncryptionRequest(flavor, image)
  refuseStatelessBios(image)
  return { encryption, memoryBacking: memoryBacking(flavor, image, encryption) }
}
