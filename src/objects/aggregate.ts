import { z } from 'zod'
import { HostName } from './host-report.ts'
import { text } from './text.ts'

/** As long as Nova stores them. */
const AggregateName = text(255).min(1)

/** Keys and values of an operator's own, and those that the scheduler reads: Nova's names (docs/operators.md). */
const AggregateMetadata = z
  .record(text(255).min(1), text(255))
  .refine((metadata) => Object.keys(metadata).length <= 128, 'at most 128 keys')

/** A set of hosts with metadata: what makes a zone, and what isolates hosts. A host may be in many. */
export const Aggregate = z.object({
  name: AggregateName,
  metadata: AggregateMetadata,
  hosts: z.array(HostName),
})
export type Aggregate = z.infer<typeof Aggregate>

/** Metadata key that makes an aggregate a zone. */
const AVAILABILITY_ZONE = 'availability_zone'
/** Zone of hosts that no aggregate puts into another: Nova's `default_availability_zone`. */
export const DEFAULT_AVAILABILITY_ZONE = 'nova'

/** In which zone hosts of these aggregates are. An operator cannot put a host into two. */
export function availabilityZoneOf(aggregates: readonly Pick<Aggregate, 'metadata'>[]): string {
  const zoned = aggregates.find(({ metadata }) => Object.hasOwn(metadata, AVAILABILITY_ZONE))
  return zoned?.metadata[AVAILABILITY_ZONE] ?? DEFAULT_AVAILABILITY_ZONE
}
