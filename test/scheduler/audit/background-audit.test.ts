import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { DatabaseUnavailable } from '../../../src/errors.ts'
import type { AuditReport } from '../../../src/objects/audit.ts'
import type { AuditRequest } from '../../../src/scheduler/audit/auditor.ts'
import { BackgroundAudit } from '../../../src/scheduler/audit/background-audit.ts'
import { LEAK, REPORT } from './reports.ts'

/** A background audit whose auditor finds these, one audit after the other. */
function aBackground(reports: readonly (AuditReport | Error)[], { isDue = true } = {}) {
  const lines: string[] = []
  const asked: AuditRequest[] = []
  const leases: string[] = []
  const write = (line: string) => {
    const { level, msg } = JSON.parse(line)
    lines.push(`${pino.levels.labels[level]} ${msg}`)
  }
  const background = new BackgroundAudit({
    auditor: {
      async audit(request) {
        const report = reports[asked.push(request) - 1]
        if (report === undefined || report instanceof Error) throw report
        return report
      },
    },
    log: {
      async take() {
        leases.push('take')
        return isDue
      },
      async giveUp() {
        leases.push('give up')
      },
    },
    intervalSeconds: 600,
    logger: pino({ level: 'info' }, { write }),
  })
  return { background, lines, asked, leases }
}

describe('the background audit', () => {
  it('looks at everything, repairs nothing, and tells each finding once until it is gone', async () => {
    const found = { ...REPORT, findings: [LEAK] }
    const { background, lines, asked } = aBackground([found, found, { ...REPORT, remaining_total: 0 }, found])

    for (let n = 0; n < 4; n++) await background.auditIfDue()

    expect(asked[0]).toEqual({ repair: false, settle_seconds: 10 })
    expect(lines).toEqual([
      'warn audit: leak: 1 VCPU claimed',
      'info audit: 2 findings',
      'info audit: 2 findings',
      'info audit: all agree',
      'warn audit: leak: 1 VCPU claimed',
      'info audit: 2 findings',
    ])
  })

  it('leaves an audit that is not due to nobody', async () => {
    const { background, asked, lines } = aBackground([REPORT], { isDue: false })

    await background.auditIfDue()

    expect([asked, lines]).toEqual([[], []])
  })

  it('gives an audit that could not be made to others, and says why', async () => {
    const { background, lines, leases } = aBackground([new DatabaseUnavailable('away')])

    await background.auditIfDue()

    expect(leases).toEqual(['take', 'give up'])
    expect(lines).toEqual(['warn the audit could not be made now'])
  })
})
