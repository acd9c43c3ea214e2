import type { ClaimOutcome } from '../placement/claim.ts'
import type { ClaimInFlight } from './host-table.ts'

/**
 * Ends in memory what was on its way, as the database has answered it.
 *
 * @param outcome undefined: it did not answer
 */
export function endClaim(onItsWay: ClaimInFlight, outcome: ClaimOutcome | undefined): void {
  if (outcome === undefined || !('selection' in outcome)) onItsWay.failed()
  // A try that had its claim has taken nothing now.
  else if (outcome.isNew) onItsWay.made(outcome.inventories)
  else onItsWay.failed(outcome.inventories)
}
