import type { Logger } from 'pino'
import type { AuditFinding, AuditReport } from '../../objects/audit.ts'
import { newRequestContext } from '../../rpc/request-context.ts'
import type { AuditLog } from './audit-log.ts'
import type { Auditor } from './auditor.ts'

/** Between the two looks of an audit that nobody waits for, in seconds. */
const SETTLE_SECONDS = 10
/** An audit that takes longer is given up; its holder dead, another scheduler takes over then. */
const LEASE_SECONDS = 600
/** How often it is asked whether an audit is due, as a part of the interval, and at most so many seconds apart. */
const PARTS = 10
const ASK_AT_LEAST_EVERY_SECONDS = 60

export interface BackgroundAuditOptions {
  readonly auditor: Pick<Auditor, 'audit'>
  readonly log: Pick<AuditLog, 'take' | 'giveUp'>
  /** 0: never. */
  readonly intervalSeconds: number
  readonly settleSeconds?: number
  readonly logger: Logger
}

/** Audits the whole cloud at an interval, one scheduler at a time, and says what it finds; it repairs nothing. */
export class BackgroundAudit {
  readonly #options: BackgroundAuditOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #told: ReadonlySet<string> = new Set()

  constructor(options: BackgroundAuditOptions) {
    this.#options = options
  }

  start(): void {
    const { intervalSeconds } = this.#options
    if (intervalSeconds === 0 || this.#stop.signal.aborted) return
    const everySeconds = Math.min(intervalSeconds / PARTS, ASK_AT_LEAST_EVERY_SECONDS)
    this.#timer = setTimeout(() => {
      this.#running = this.auditIfDue().finally(() => this.start())
    }, everySeconds * 1000)
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the scheduler is stopping'))
    clearTimeout(this.#timer)
    await this.#running
  }

  /** Never throws: what cannot be audited now is audited at the next turn. */
  async auditIfDue(): Promise<void> {
    const { auditor, log, intervalSeconds, settleSeconds = SETTLE_SECONDS, logger } = this.#options
    const { signal } = this.#stop
    try {
      if (!(await log.take(intervalSeconds, LEASE_SECONDS))) return
      const limit = AbortSignal.any([signal, AbortSignal.timeout(LEASE_SECONDS * 1000)])
      const info = { context: newRequestContext(), signal: limit }
      this.#tell(await auditor.audit({ repair: false, settle_seconds: settleSeconds }, info))
    } catch (err) {
      if (!signal.aborted) logger.warn({ err }, 'the audit could not be made now')
      await log.giveUp().catch(() => {})
    }
  }

  /** Each finding once, and once more when it came back. */
  #tell({ findings, not_judged, not_judged_total, remaining, remaining_total }: AuditReport): void {
    const { logger } = this.#options
    for (const finding of findings) {
      if (this.#told.has(nameOf(finding))) continue
      const { kind, host, instance_uuid, problem, repair, advice } = finding
      const facts = { kind, host, instance_uuid, fix: repair ? 'sevbus audit --repair' : advice }
      logger.warn(facts, `audit: ${kind}: ${problem}`)
    }
    this.#told = new Set(findings.map(nameOf))
    const facts = { remaining, not_judged: not_judged.slice(0, 5), not_judged_total }
    logger.info(facts, remaining_total === 0 ? 'audit: all agree' : `audit: ${remaining_total} findings`)
  }
}

function nameOf({ kind, host, instance_uuid, problem }: AuditFinding): string {
  return JSON.stringify([kind, host, instance_uuid ?? problem])
}
