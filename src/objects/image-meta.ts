import { z } from 'zod'
import { text } from './text.ts'

/** Property values as an image service stores them: mostly strings, sometimes already converted. */
const ImageProperty = z.union([text(4096), z.boolean(), z.number(), z.null()])

const fields = {
  id: z.guid().nullish(),
  name: text(255).nullish(),
  disk_format: text(32).nullish(),
  container_format: text(32).nullish(),
  checksum: text(128).nullish(),
  size: z.int().min(0).nullish(),
  min_ram: z.int().min(0).default(0),
  min_disk: z.int().min(0).default(0),
  properties: z
    .record(text(255).min(1), ImageProperty)
    .refine((properties) => Object.keys(properties).length <= 256, 'at most 256 properties')
    .default({}),
}

/**
 * The image a guest boots from. `id` and `name` are absent when it boots from a volume, so nothing may rely on them
 * (OpenStack bugs 2041511, 1928063).
 */
export const ImageMeta = z.object(fields).readonly()
export type ImageMeta = z.infer<typeof ImageMeta>

/** As somebody writes it: an unknown field is a mistake. */
export const NewImageMeta = z.strictObject(fields).readonly()

/** How messages name an image that may have neither id nor name. */
export function imageLabel(image: ImageMeta): string {
  return `image ${image.name ?? '<no-name>'} (${image.id ?? '<no-id>'})`
}

/** Where the properties of an image are to be changed: a volume has a copy of them, and no image id. */
export function placeOfProperties(image: ImageMeta): string {
  return typeof image.id === 'string'
    ? 'on the image'
    : 'on the image, or in the image properties of the volume it boots from'
}
