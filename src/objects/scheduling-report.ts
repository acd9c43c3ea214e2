import { z } from 'zod'
import { MemEncryptionModel } from './mem-encryption.ts'

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

const Refusals = {
  hosts_considered: z.int(),
  rejected: z.array(z.object({ filter: z.string(), hosts: z.int() })),
  rejections: z.array(Rejection).max(MAX_HOSTS_BY_NAME),
}

/** A model that the request liked better, and why no host could give it. */
export const RefusedModel = z.object({ model: MemEncryptionModel, ...Refusals })
export type RefusedModel = z.infer<typeof RefusedModel>

/** Why a host was chosen, or none: counts for all hosts, names for the first few. Bounded, so it can be stored. */
export const SchedulingReport = z.object({
  /** The model that was looked for; absent for a guest in clear, and in reports of earlier releases. */
  model: MemEncryptionModel.optional(),
  ...Refusals,
  /** Best first, with each weigher's part in the sum. */
  ranking: z
    .array(z.object({ host: z.string(), weight: z.number(), weights: z.record(z.string(), z.number()) }))
    .max(MAX_HOSTS_BY_NAME),
  /** Models that were looked for before this one, in their order. */
  refused_models: z.array(RefusedModel).max(MemEncryptionModel.options.length).optional(),
})
export type SchedulingReport = z.infer<typeof SchedulingReport>
