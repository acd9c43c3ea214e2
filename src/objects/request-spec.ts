import { z } from 'zod'
import { AvailabilityZone } from './availability-zone.ts'
import { Flavor } from './flavor.ts'
import { HostName } from './host-report.ts'
import { ImageMeta } from './image-meta.ts'
import { MemEncryption } from './mem-encryption.ts'
import { NO_HINTS, SchedulerHints } from './scheduler-hints.ts'
import { SchedulingReport } from './scheduling-report.ts'

/**
 * A move of an instance to another host, or, as a rebuild, to another image where it is. While it lasts, what the instance
 * had where it came from stays claimed.
 */
export const Migration = z.object({
  uuid: z.guid(),
  type: z.enum(['evacuation', 'migration', 'resize', 'rebuild', 'live-migration']),
})
export type Migration = z.infer<typeof Migration>

/** The question to the scheduler: where can this instance run? */
export const RequestSpec = z.object({
  instance_uuid: z.guid(),
  /** Number of this try, from 1. A claim belongs to one try; a later one replaces it. */
  attempt: z.int().min(1),
  project_id: z.string().max(255).nullable(),
  user_id: z.string().max(255).nullable(),
  /** The launch's flavor: with the translated extra specs (`resources:MEM_ENCRYPTION_CONTEXT=1`). */
  flavor: Flavor,
  image: ImageMeta,
  /** What was asked for. When flavor and image name several models it is one of them, and all are tried in their order. */
  mem_encryption: MemEncryption.nullable(),
  /** True: `mem_encryption` is what it has had, and it gets none below that. */
  keeps_encryption: z.boolean().optional(),
  /** Null: any. */
  availability_zone: AvailabilityZone.nullable().default(null),
  scheduler_hints: SchedulerHints.default(NO_HINTS),
  /** Hosts where this instance has failed already. */
  ignore_hosts: z.array(HostName).max(1000).default([]),
  /** When not empty, only these are considered. */
  force_hosts: z.array(HostName).max(1000).default([]),
  /** The instance moves: with the claim of a new try, what it had goes over to the migration until that is over. */
  migration: Migration.optional(),
})
export type RequestSpec = z.infer<typeof RequestSpec>

export const Allocation = z.object({
  provider: z.string(),
  resource_class: z.string(),
  amount: z.int().min(1),
  /** True: memory that cannot be swapped out, and so is never overcommitted. */
  pinned: z.boolean().optional(),
})
export type Allocation = z.infer<typeof Allocation>

/** The answer: a host with the resources claimed on it, and why it was this one. */
export const Selection = z.object({
  host: HostName,
  attempt: z.int().min(1),
  allocations: z.array(Allocation),
  report: SchedulingReport,
  /** What the slot is for, null for a guest in clear; absent: answered by an earlier release, which knows no choice. */
  mem_encryption: MemEncryption.nullable().optional(),
})
export type Selection = z.infer<typeof Selection>
