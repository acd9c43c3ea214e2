import type { ImageMeta } from './image-meta.ts'
import type { Instance } from './instance.ts'

/** Of the bytes of the image that the instance began as; Nova leaves out the like (`non_inheritable_image_properties`). */
const OF_ITS_BYTES = /^(?:os_hash_|img_signature|cinder_encryption_)/

/**
 * The image that an instance waits as while it is shelved: with its flavor it asks for just what the instance's own image had
 * asked for, whichever of the two had said it.
 */
export function shelvedImage(instance: Instance, id: string): ImageMeta {
  return imageOf(instance, { id, name: `${instance.name.slice(0, MAX_NAME)}-shelved` }, {})
}
/** With its suffix, a name of an image has 255 characters at most. */
const MAX_NAME = 247

/**
 * The image that a snapshot of the instance is. It asks for what the instance runs with, whoever had asked for that: a boot
 * from it is encrypted by the same model, or refused where its flavor says otherwise.
 */
export function snapshotImage(instance: Instance, named: Named): ImageMeta {
  const { image, mem_encryption } = instance
  const encryption = mem_encryption && {
    hw_mem_encryption: true,
    hw_mem_encryption_model: image.properties.hw_mem_encryption_model ?? mem_encryption.model,
  }
  return imageOf(instance, named, encryption ?? {})
}

interface Named {
  readonly id: string
  readonly name: string
}

function imageOf({ uuid, image, flavor }: Instance, { id, name }: Named, more: ImageMeta['properties']): ImageMeta {
  const kept = Object.entries(image.properties).filter(([key]) => !OF_ITS_BYTES.test(key))
  return {
    id,
    name,
    disk_format: 'qcow2',
    container_format: 'bare',
    min_ram: image.min_ram,
    // Its disk is as large as the instance's was.
    min_disk: Math.max(image.min_disk, flavor.root_gb),
    properties: {
      ...Object.fromEntries(kept),
      ...more,
      image_type: 'snapshot',
      instance_uuid: uuid,
      ...(typeof image.id === 'string' && { base_image_ref: image.id }),
    },
  }
}
