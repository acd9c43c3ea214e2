import type { Instance } from '../objects/instance.ts'
import type { ComputePorts } from './compute-ports.ts'

/** What was on its way for longer is asked about before it begins. */
const LATE_MS = 60_000

/**
 * It waited long in a queue while this host was away, or in the journal of a worker that was: by now the instance may live
 * elsewhere, or not at all. The time is of a conductor's clock: where the two differ by more, in either direction, the
 * conductor is asked each time.
 */
export function isLate({ updated_at }: Pick<Instance, 'updated_at'>, { now }: Pick<ComputePorts, 'now'>): boolean {
  return Math.abs(now().getTime() - Date.parse(updated_at)) > LATE_MS
}
