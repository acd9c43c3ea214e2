import {
  type AuditFinding,
  type AuditReport,
  type FindingKind,
  MAX_FINDINGS,
  MAX_UNJUDGED_BY_NAME,
} from '../../objects/audit.ts'
import type { Finding } from './finding.ts'
import type { Observed } from './observe.ts'

/** A finding with what became of it. */
export interface Verdict {
  readonly finding: Finding
  readonly outcome: AuditFinding['outcome']
  readonly failure?: string
}

export interface AuditFacts {
  readonly startedAt: Date
  readonly settleSeconds: number
  /** The first look, which saw everything. */
  readonly observed: Observed
  readonly changing: number
  readonly verdicts: readonly Verdict[]
}

/** What is told of an audit: all of it in numbers, the first in words. */
export function auditReport({ startedAt, settleSeconds, observed, changing, verdicts }: AuditFacts): AuditReport {
  const { seen, conductorTrouble } = observed
  const looks = [...seen.hosts].filter(([host]) => seen.scope.has(host))
  const answered = looks.flatMap(([, look]) => (look.answered ? [look] : []))
  const silent = looks.flatMap(([host, look]) => (look.answered ? [] : [{ what: host, reason: look.reason }]))
  const unjudged = [
    ...(conductorTrouble === undefined
      ? []
      : [{ what: 'instances', reason: `no conductor answered: ${conductorTrouble}` }]),
    ...silent,
  ]
  const open = verdicts.filter(({ outcome }) => outcome !== 'repaired')
  return {
    started_at: startedAt.toISOString(),
    settle_seconds: settleSeconds,
    compared: {
      hosts: answered.length,
      instances: [...(seen.instances?.values() ?? [])].filter(({ vm_state }) => vm_state !== 'deleted').length,
      claims: seen.claims.length,
      guests: answered.reduce((sum, { guests }) => sum + guests.length, 0),
    },
    changing,
    not_judged: unjudged.slice(0, MAX_UNJUDGED_BY_NAME),
    not_judged_total: unjudged.length,
    remaining: countsByKind(open),
    remaining_total: open.length,
    repaired_total: verdicts.length - open.length,
    findings: verdicts.slice(0, MAX_FINDINGS).map(findingOnTheWire),
  }
}

function countsByKind(verdicts: readonly Verdict[]): AuditReport['remaining'] {
  const counts: Partial<Record<FindingKind, number>> = {}
  for (const { finding } of verdicts) counts[finding.kind] = (counts[finding.kind] ?? 0) + 1
  return counts
}

function findingOnTheWire({ finding, outcome, failure }: Verdict): AuditFinding {
  const { kind, host, uuid, instance, problem, numbers, repair, advice } = finding
  return {
    kind,
    host,
    instance_uuid: uuid ?? null,
    instance_name: instance?.name ?? null,
    problem,
    numbers: { ...numbers },
    repair: repair ? { action: repair.action, does: repair.does, safe_because: repair.safeBecause } : null,
    advice: advice ?? null,
    outcome,
    failure: failure ?? null,
  }
}
