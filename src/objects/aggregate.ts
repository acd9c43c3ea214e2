import { z } from 'zod'
import { AVAILABILITY_ZONE } from './availability-zone.ts'
import { HostName } from './host-report.ts'
import { text } from './text.ts'

/** As long as Nova stores them. */
export const AggregateName = text(255).min(1)

/** As it is asked for: one that cannot be seen, or that looks like another, would be nobody's to find again. */
export const NewAggregateName = AggregateName.refine(
  (name) => name.trim() === name,
  'write a name without blanks around it',
)

export const MAX_METADATA_KEYS = 128

/** Keys and values of an operator's own, and those that the scheduler reads: Nova's names (docs/operators.md). */
const AggregateMetadata = z
  .record(text(255).min(1), text(255))
  .refine((metadata) => Object.keys(metadata).length <= MAX_METADATA_KEYS, `at most ${MAX_METADATA_KEYS} keys`)

/** As it is asked for: what the scheduler reads must mean something, or hosts would be kept from everybody in silence. */
export const NewAggregateMetadata = AggregateMetadata.superRefine(tellMeaningless)

/** Keys that get a value, or go where it is null. */
export const AggregateMetadataChanges = z.record(text(255).min(1), text(255).nullable()).superRefine(tellMeaningless)

/** A set of hosts with metadata: what makes a zone, and what isolates hosts. A host may be in many. */
export const Aggregate = z.object({
  name: AggregateName,
  metadata: AggregateMetadata,
  hosts: z.array(HostName),
})
export type Aggregate = z.infer<typeof Aggregate>

/** What is wrong with a value that the scheduler would read; undefined: it means something, or nobody reads the key. */
function problemOf(key: string, value: string): string | undefined {
  const given = JSON.stringify(value)
  if (key === AVAILABILITY_ZONE && (value === '' || value !== value.trim())) {
    return `${given} is no name of a zone; write one without blanks around it`
  }
  if ((key === 'max_instances_per_host' || key === 'max_io_ops_per_host') && !/^\d{1,9}$/.test(value)) {
    return `${given} is no limit; write a whole number from 0`
  }
  // Every key that begins so is read; see the filter AggregateMultiTenancyIsolation.
  if (key.startsWith('filter_tenant_id') && value.split(',').every((project) => project.trim() === '')) {
    return `${given} names no project, so nobody could use the hosts; write the ids of projects, with commas between`
  }
  return undefined
}

function tellMeaningless(metadata: Readonly<Record<string, string | null>>, context: z.RefinementCtx): void {
  for (const [key, value] of Object.entries(metadata)) {
    const message = value === null ? undefined : problemOf(key, value)
    if (message !== undefined) context.addIssue({ code: 'custom', path: [key], message })
  }
}
