import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { auditText } from '../../src/cli/audit-view.ts'
import type { AuditFinding, AuditReport } from '../../src/objects/audit.ts'
import { LEAK, REPORT } from '../scheduler/audit/reports.ts'

const AGREED: AuditReport = { ...REPORT, not_judged: [], not_judged_total: 0, remaining: {}, remaining_total: 0 }
const FOREIGN: AuditFinding = {
  ...LEAK,
  kind: 'foreign_guest',
  instance_name: null,
  problem: 'a guest that is not ours',
  repair: null,
  advice: 'keep what it takes from what is offered',
}

function text(report: AuditReport, isRepair = false): string {
  return stripVTControlCharacters(auditText(report, isRepair))
}

describe('an audit as people read it', () => {
  it('is short when everything agrees, and says what everything was', () => {
    expect(text({ ...AGREED, settle_seconds: 3, changing: 2 })).toBe(
      [
        'compared 2 hosts, 1 instance, 1 claim, 1 guest; what did not agree was looked at again after 3 s',
        '2 instances being built, moved or deleted: not judged',
        '',
        'everything agrees',
      ].join('\n'),
    )
  })

  it('says who did not answer, of many only the first', () => {
    const not_judged = Array.from({ length: 30 }, (_, n) => ({ what: `h${n}`, reason: 'no answer' }))
    const lines = text({ ...AGREED, not_judged, not_judged_total: 250 }).split('\n')

    expect(lines.slice(2, 4)).toEqual(['not judged, for they did not answer:', '  h0: no answer'])
    expect(lines.slice(-3)).toEqual(['  and 230 more', '', 'all that answered agrees'])
    const none = { ...AGREED, not_judged, not_judged_total: 30, compared: { ...AGREED.compared, hosts: 0 } }
    expect(text(none).split('\n').at(-1)).toBe('no host answered')
  })

  it('has a line for each finding, what would mend it, and what a person must do', () => {
    const report = {
      ...AGREED,
      findings: [LEAK, FOREIGN],
      remaining: { leak: 1, foreign_guest: 1 },
      remaining_total: 2,
    }

    expect(text(report).split('\n').slice(2)).toEqual([
      'KIND           HOST  INSTANCE OR GUEST                           REPAIR        WHAT IS WRONG',
      `leak           h1    web-1 ${LEAK.instance_uuid}  --repair      1 VCPU claimed`,
      `foreign guest  h1    ${LEAK.instance_uuid}        for a person  a guest that is not ours`,
      '',
      '--repair would do:',
      '  leak: gives it back (release_allocations); safe, because no guest is there',
      '',
      'for a person:',
      '  foreign guest: keep what it takes from what is offered',
      '',
      '2 findings: leak 1, foreign guest 1; sevbus audit --repair mends what is safe',
    ])
  })

  it('tells after a repair what was done, what was not and why, and says the same advice once', () => {
    const repaired: AuditFinding = { ...LEAK, outcome: 'repaired' }
    const failed: AuditFinding = { ...LEAK, host: 'h2', outcome: 'not repaired', failure: 'the instance has changed' }
    const findings = [repaired, failed, FOREIGN, { ...FOREIGN, host: 'h2' }]
    const counts = { remaining: { leak: 1, foreign_guest: 2 }, remaining_total: 3, repaired_total: 1 }
    const lines = text({ ...AGREED, findings, ...counts }, true).split('\n')

    expect(lines).toContain(
      `leak           h2    web-1 ${LEAK.instance_uuid}  not repaired  1 VCPU claimed; the instance has changed`,
    )
    expect(lines).toContain('--repair did:')
    expect(lines.filter((line) => line.startsWith('  foreign guest:'))).toHaveLength(1)
    expect(lines.at(-1)).toBe('1 repaired; 3 findings left: leak 1, foreign guest 2')
  })

  it('says when there are more findings than are shown', () => {
    const report = { ...AGREED, findings: [LEAK], remaining: { leak: 1200 }, remaining_total: 1200 }

    expect(text(report)).toContain('1200 findings: leak 1200 (the first 1 are shown)')
  })
})
