import { FindingKind } from '../../objects/audit.ts'
import type { InstanceState } from '../../objects/instance.ts'
import { claimFindings, missingClaim } from './compare-claims.ts'
import { diskFindings } from './compare-disks.ts'
import { guestFindings, missingGuest } from './compare-guests.ts'
import { inventoryFindings } from './compare-inventories.ts'
import { keyFindings } from './compare-keys.ts'
import type { Finding } from './finding.ts'
import { Evidence, type Observation } from './observation.ts'

export interface Comparison {
  /** Gravest first, then by host. */
  readonly findings: readonly Finding[]
  /** All hosts that the findings have to do with: where a second look has to look to see the same. */
  readonly hosts: readonly string[]
  /** Instances that something is being done to now, of which nothing is said. */
  readonly changing: number
}

/**
 * What does not agree, of one look at everything. The parts were read one after the other, so a single look may take what
 * changed in between for a fault: only what a second look finds too, unchanged, is one (`identity`).
 *
 * It stops for a moment after each thing: a scheduler that compares a hundred thousand of them does its other work in
 * between.
 */
export function* comparing(seen: Observation): Generator<undefined, Comparison> {
  const evidence = yield* Evidence.of(seen)
  const findings: Finding[] = []
  for (const [host, look] of seen.hosts) yield note(findings, keyFindings(evidence, host, look))
  for (const inventory of seen.inventories) yield note(findings, inventoryFindings(seen, inventory))
  let changing = 0
  // Without a conductor nobody can say which guests and claims are right.
  if (seen.instances !== undefined) {
    for (const [host, look] of seen.hosts) {
      yield note(findings, guestFindings(evidence, host, look))
      yield note(findings, diskFindings(evidence, host, look))
    }
    for (const claim of seen.claims) yield note(findings, claimFindings(evidence, claim))
    for (const instance of seen.instances.values()) {
      if (evidence.isChanging(instance.uuid)) changing++
      yield note(findings, instanceFindings(evidence, instance))
    }
  }
  const hosts = findings.flatMap(({ host, uuid }) => (uuid === undefined ? host : [host, ...evidence.hostsOf(uuid)]))
  return { findings: inOrder(findings), hosts: [...new Set(hosts)], changing }
}

function instanceFindings(evidence: Evidence, instance: InstanceState): readonly Finding[] {
  return [missingGuest(evidence, instance), missingClaim(evidence, instance)].filter((found) => found !== undefined)
}

function note(findings: Finding[], found: readonly Finding[]): undefined {
  findings.push(...found)
}

function inOrder(findings: readonly Finding[]): readonly Finding[] {
  const rank = new Map(FindingKind.options.map((kind, index) => [kind, index]))
  const key = ({ kind, host, uuid }: Finding) => [String(rank.get(kind)).padStart(2, '0'), host, uuid ?? ''].join('\n')
  return findings.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
}
