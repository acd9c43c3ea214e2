import { text } from './text.ts'

/** Name of a zone: hosts get one by an aggregate with the metadata `availability_zone`, as long as Nova stores it. */
export const AvailabilityZone = text(255).min(1)

/** Metadata key that makes an aggregate a zone. */
export const AVAILABILITY_ZONE = 'availability_zone'
/** Zone of hosts that no aggregate puts into another: Nova's `default_availability_zone`. */
export const DEFAULT_AVAILABILITY_ZONE = 'nova'

/** In which zone hosts of these aggregates are. An operator cannot put a host into two. */
export function availabilityZoneOf(
  aggregates: readonly { readonly metadata: Readonly<Record<string, string>> }[],
): string {
  const zoned = aggregates.find(({ metadata }) => Object.hasOwn(metadata, AVAILABILITY_ZONE))
  return zoned?.metadata[AVAILABILITY_ZONE] ?? DEFAULT_AVAILABILITY_ZONE
}
