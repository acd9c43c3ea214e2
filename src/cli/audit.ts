import { InvalidArguments } from '../errors.ts'
import type { AuditReport } from '../objects/audit.ts'
import { auditText } from './audit-view.ts'
import { EXIT } from './exit-codes.ts'
import { note, print, printJson } from './output.ts'
import { type GlobalOptions, withSession } from './session.ts'

/** The contract's longest pause between the two looks. */
const MAX_SETTLE_SECONDS = 60

export interface AuditOptions extends GlobalOptions {
  readonly repair?: boolean
  readonly host?: readonly string[]
  readonly settle?: string
}

/** Tells what does not agree; changes nothing without --repair. */
export async function audit(options: AuditOptions): Promise<number> {
  const { repair = false, host } = options
  const settle_seconds = settleOf(options)
  return withSession(options, async ({ scheduler, context }) => {
    if (!options.json && repair) note('looking twice, then repairing what is safe …')
    const hosts = host === undefined ? {} : { hosts: [...host] }
    const { report } = await scheduler.audit(context, { ...hosts, repair, settle_seconds })
    if (options.json) printJson(report)
    else print(auditText(report, repair))
    return exitCodeOf(report)
  })
}

function exitCodeOf({ remaining_total, not_judged_total }: AuditReport): number {
  if (remaining_total > 0) return EXIT.FINDINGS
  return not_judged_total > 0 ? EXIT.UNREACHABLE : EXIT.OK
}

function settleOf({ settle = '3' }: AuditOptions): number {
  const seconds = Number(settle)
  if (settle.trim() !== '' && seconds >= 0 && seconds <= MAX_SETTLE_SECONDS) return seconds
  const fix = `write seconds from 0 to ${MAX_SETTLE_SECONDS}`
  throw new InvalidArguments(`--settle is ${JSON.stringify(settle)}; ${fix}`, { field: '--settle', value: settle, fix })
}
