import { z } from 'zod'
import { text } from './text.ts'

/** A folder that a host has of an instance's disks. */
export const DiskReport = z.object({
  uuid: z.guid(),
  /** The whole path, or what stands for it on a simulated host. */
  folder: text(1024).min(1),
  /** Set aside by a move, for the instance to go back to. */
  aside: z.boolean(),
  /** What it takes on disk. */
  bytes: z.int().min(0),
})
export type DiskReport = z.infer<typeof DiskReport>
