import { InvalidProperty } from '../errors.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'

/**
 * An ISO image would have to be a CD-ROM beside an empty disk, as Nova makes it. Here the image becomes the guest's
 * root disk, and a CD's file system on a hard disk is nothing that its boot loader is made for.
 *
 * @throws InvalidProperty
 */
export function refuseIsoImage(image: ImageMeta): void {
  const { disk_format: format } = image
  if (format?.toLowerCase() !== 'iso') return
  const owner = imageLabel(image)
  const fix = 'install the system to a disk once, and take an image of that disk (qcow2 or raw)'
  const message = `${owner} has disk_format=${format}, but guests here boot from a disk, not from a CD-ROM; ${fix}`
  throw new InvalidProperty(message, { owner, property: 'disk_format', value: format, fix })
}
