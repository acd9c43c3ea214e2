import { createHash } from 'node:crypto'
import { ImageUnacceptable } from '../../errors.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { StoredImage } from './image-source.ts'

/** A volume's image has no id, and volumes are not attached here. @throws ImageUnacceptable */
export function withId(image: ImageMeta): StoredImage {
  const { id } = image
  if (typeof id === 'string') return { ...image, id }
  const fix = 'name an image of the store by its id'
  throw new ImageUnacceptable(`the image has no id, as that of a volume; hosts here attach no volumes; ${fix}`, {
    property: 'id',
    value: null,
    fix,
  })
}

/** Another name where the request says something else about the bytes: then they are fetched and checked again. */
export function baseName({ id, checksum, size, disk_format, container_format, properties }: StoredImage): string {
  const { os_hash_algo, os_hash_value } = properties
  const said = [checksum, size, disk_format, container_format, os_hash_algo, os_hash_value].map((each) => each ?? null)
  return `${id.toLowerCase()}-${createHash('sha256').update(JSON.stringify(said)).digest('hex').slice(0, 16)}`
}

export function isBaseName(name: string): boolean {
  return /^[0-9a-f-]{36}-[0-9a-f]{16}$/.test(name)
}
