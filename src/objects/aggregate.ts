import { z } from 'zod'
import { HostName } from './host-report.ts'
import { text } from './text.ts'

/** As long as Nova stores them. */
export const AggregateName = text(255).min(1)

export const MAX_METADATA_KEYS = 128

/** Keys and values of an operator's own, and those that the scheduler reads: Nova's names (docs/operators.md). */
export const AggregateMetadata = z
  .record(text(255).min(1), text(255))
  .refine((metadata) => Object.keys(metadata).length <= MAX_METADATA_KEYS, `at most ${MAX_METADATA_KEYS} keys`)

/** A set of hosts with metadata: what makes a zone, and what isolates hosts. A host may be in many. */
export const Aggregate = z.object({
  name: AggregateName,
  metadata: AggregateMetadata,
  hosts: z.array(HostName),
})
export type Aggregate = z.infer<typeof Aggregate>
