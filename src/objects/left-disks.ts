import { z } from 'zod'
import { text } from './text.ts'

/** Hosts that tell the same see the same disks, and can take over guests from each other. */
export const StorageId = text(255).min(1)

/** Disks of a guest that leaves its host, as that has made them ready: whoever takes them must find them so. */
export const LeftDisks = z.object({
  /** The whole path, or what stands for it on a simulated host. */
  folder: text(1024).min(1),
  files: z.array(z.object({ name: text(255).min(1), bytes: z.int().min(0) })).max(256),
})
export type LeftDisks = z.infer<typeof LeftDisks>
