import { z } from 'zod'

/** Property values as an image service stores them: mostly strings, sometimes already converted. */
const ImageProperty = z.union([z.string().max(4096), z.boolean(), z.number(), z.null()])

/**
 * The image a guest boots from. `id` and `name` are absent when it boots from a volume, so nothing may rely on them
 * (OpenStack bugs 2041511, 1928063).
 */
export const ImageMeta = z
  .strictObject({
    id: z.guid().nullish(),
    name: z.string().max(255).nullish(),
    disk_format: z.string().max(32).nullish(),
    container_format: z.string().max(32).nullish(),
    checksum: z.string().max(128).nullish(),
    size: z.int().min(0).nullish(),
    min_ram: z.int().min(0).default(0),
    min_disk: z.int().min(0).default(0),
    properties: z
      .record(z.string().min(1).max(255), ImageProperty)
      .refine((properties) => Object.keys(properties).length <= 256, 'at most 256 properties')
      .default({}),
  })
  .readonly()
export type ImageMeta = z.infer<typeof ImageMeta>

/** How messages name an image that may have neither id nor name. */
export function imageLabel(image: ImageMeta): string {
  return `image ${image.name ?? '<no-name>'} (${image.id ?? '<no-id>'})`
}
