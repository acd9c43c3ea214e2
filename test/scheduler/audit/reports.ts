import type { AuditFinding, AuditReport } from '../../../src/objects/audit.ts'

/** Of an audit that found two leaks, and could not judge h3. */
export const REPORT: AuditReport = {
  started_at: '2026-03-01T10:00:00.000Z',
  settle_seconds: 0,
  compared: { hosts: 2, instances: 1, claims: 1, guests: 1 },
  changing: 0,
  not_judged: [{ what: 'h3', reason: 'no answer' }],
  not_judged_total: 1,
  remaining: { leak: 2 },
  remaining_total: 2,
  repaired_total: 0,
  findings: [],
}

export const LEAK: AuditFinding = {
  kind: 'leak',
  host: 'h1',
  instance_uuid: '00000000-0000-4000-8000-000000000001',
  instance_name: 'web-1',
  problem: '1 VCPU claimed',
  numbers: { VCPU: 1 },
  repair: { action: 'release_allocations', does: 'gives it back', safe_because: 'no guest is there' },
  advice: null,
  outcome: 'found',
  failure: null,
}
