import { FindingKind } from '../../objects/audit.ts'
import { leaks, missingClaims } from './compare-claims.ts'
import { guestFindings, missingGuests } from './compare-guests.ts'
import { inventoryFindings } from './compare-inventories.ts'
import { keyFindings } from './compare-keys.ts'
import type { Finding } from './finding.ts'
import { Evidence, type Observation } from './observation.ts'

export interface Comparison {
  /** Gravest first, then by host. */
  readonly findings: readonly Finding[]
  /** Instances that something is being done to now, of which nothing is said. */
  readonly changing: number
}

/**
 * What does not agree, of one look at everything. The parts were read one after the other, so a single look may take what
 * changed in between for a fault: only what a second look finds too, unchanged, is one (`identity`).
 */
export function compare(seen: Observation): Comparison {
  const evidence = new Evidence(seen)
  const ofHosts = [...keyFindings(evidence), ...inventoryFindings(seen)]
  // Without a conductor nobody can say which guests and claims are right.
  if (seen.instances === undefined) return { findings: inOrder(ofHosts), changing: 0 }
  const findings = [
    ...guestFindings(evidence),
    ...missingGuests(evidence),
    ...missingClaims(evidence),
    ...leaks(evidence),
    ...ofHosts,
  ]
  const named = new Set([...seen.instances.keys(), ...seen.claims.map(({ instance }) => instance)])
  return { findings: inOrder(findings), changing: [...named].filter((uuid) => evidence.isChanging(uuid)).length }
}

function inOrder(findings: readonly Finding[]): readonly Finding[] {
  const rank = new Map(FindingKind.options.map((kind, index) => [kind, index]))
  const key = ({ kind, host, uuid }: Finding) => [String(rank.get(kind)).padStart(2, '0'), host, uuid ?? ''].join('\n')
  return findings.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
}
