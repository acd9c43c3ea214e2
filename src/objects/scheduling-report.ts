import { z } from 'zod'

/** At most so many hosts are named one by one; the rest is counted. */
export const MAX_HOSTS_BY_NAME = 20

export const Rejection = z.object({
  host: z.string(),
  /** Filter or resource that said no, e.g. `MemEncryptionSlots`. */
  filter: z.string(),
  /** In words an operator can act on, with numbers. */
  reason: z.string().max(500),
})
export type Rejection = z.infer<typeof Rejection>

/** Why a host was chosen, or none: counts for all hosts, names for the first few. Bounded, so it can be stored. */
export const SchedulingReport = z.object({
  hosts_considered: z.int(),
  rejected: z.array(z.object({ filter: z.string(), hosts: z.int() })),
  rejections: z.array(Rejection).max(MAX_HOSTS_BY_NAME),
  /** Best first, with each weigher's part in the sum. */
  ranking: z
    .array(z.object({ host: z.string(), weight: z.number(), weights: z.record(z.string(), z.number()) }))
    .max(MAX_HOSTS_BY_NAME),
})
export type SchedulingReport = z.infer<typeof SchedulingReport>
