import type { ImageMeta } from './image-meta.ts'
import type { Instance } from './instance.ts'
import { launchRequest, refuseDisagreement } from './launch-request.ts'

/**
 * What an instance boots from when it is rescued: the image, asking for the encryption that the instance has, whether or not
 * it says so itself. Nova makes the guest by the rescue image alone, and so drops an encryption that the instance's own image
 * had asked for; here an image that cannot be booted encrypted, or wants another encryption, is refused.
 *
 * @throws what `launchRequest` throws; InvalidProperty when the image wants another encryption than the instance has
 */
export function rescueImage({ flavor, mem_encryption }: Instance, image: ImageMeta): ImageMeta {
  const { hw_mem_encryption = true, hw_mem_encryption_model = mem_encryption?.model } = image.properties
  const encryption = hw_mem_encryption_model !== undefined && { hw_mem_encryption, hw_mem_encryption_model }
  const asked = mem_encryption === null ? image : { ...image, properties: { ...image.properties, ...encryption } }
  refuseDisagreement(launchRequest(flavor, asked), mem_encryption)
  return asked
}
