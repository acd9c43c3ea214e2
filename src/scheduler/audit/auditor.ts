import type { Logger } from 'pino'
import type { AuditReport } from '../../objects/audit.ts'
import { pause } from '../../rpc/abortable.ts'
import type { RequestInfo } from '../../rpc/contract.ts'
import { Limiter } from '../../rpc/limiter.ts'
import type { AuditLog } from './audit-log.ts'
import { auditReport, type Verdict } from './audit-report.ts'
import { comparing } from './compare.ts'
import { type Finding, identity, subject } from './finding.ts'
import { inTurns } from './in-turns.ts'
import { type Observed, type ObservePorts, observe } from './observe.ts'
import { isMended, repair } from './repair.ts'

/** What one repair brings to light (a guest is gone, its claim is left) the next round repairs. */
const ROUNDS = 3
const REPAIRS_AT_A_TIME = 8
/** How often it is looked whether a repair has helped, in milliseconds. */
const LOOK_AGAIN_MS = 250

export interface AuditRequest {
  /** Only of these; undefined: of all. */
  readonly hosts?: readonly string[] | undefined
  readonly repair: boolean
  readonly settle_seconds: number
}

export interface AuditorDeps extends ObservePorts {
  /** Remembers what an audit of the whole cloud found. */
  readonly log?: Pick<AuditLog, 'record'>
  readonly logger: Logger
  readonly now?: () => Date
  /** So long is waited for what a repair was to bring about. */
  readonly mendedWithinMs?: number
}

/** Compares what placement, the conductor, the hosts and their kernels say, and repairs what is safe when asked to. */
export class Auditor {
  readonly #deps: AuditorDeps

  constructor(deps: AuditorDeps) {
    this.#deps = deps
  }

  async audit(request: AuditRequest, info: RequestInfo): Promise<AuditReport> {
    const startedAt = (this.#deps.now ?? (() => new Date()))()
    const first = await observe(this.#deps, request.hosts, info)
    const { findings, changing } = await this.#confirmed(first, request, info)
    const verdicts: readonly Verdict[] = request.repair
      ? await this.#repairAll(findings, request, info)
      : findings.map((finding) => ({ finding, outcome: 'found' }))
    const settleSeconds = request.settle_seconds
    const report = auditReport({ startedAt, settleSeconds, observed: first, changing, verdicts })
    if (request.hosts === undefined) await this.#deps.log?.record(report)
    return report
  }

  /**
   * Looks again, at the hosts that something was found of: what is so in both looks, without having changed between them,
   * is no message on its way. A build or a deletion that took longer than the pause says so itself: the instance's state,
   * and the host's list of what it works on.
   */
  async #confirmed(first: Observed, { settle_seconds }: AuditRequest, info: RequestInfo) {
    const { findings: suspected, changing, hosts } = await inTurns(comparing(first.seen))
    if (suspected.length === 0) return { findings: [], changing }
    await pause(settle_seconds * 1000, info.signal)
    info.signal.throwIfAborted()
    const second = await observe(this.#deps, hosts, info)
    const again = await inTurns(comparing(second.seen))
    const before = new Set(suspected.map(identity))
    return { findings: again.findings.filter((finding) => before.has(identity(finding))), changing }
  }

  async #repairAll(found: readonly Finding[], request: AuditRequest, info: RequestInfo): Promise<readonly Verdict[]> {
    const verdicts = new Map<string, Verdict>(found.map((finding) => [subject(finding), { finding, outcome: 'found' }]))
    let open = found
    for (let round = 1; round <= ROUNDS; round++) {
      const wanted = open.filter(
        (each) => each.repair !== undefined && verdicts.get(subject(each))?.outcome === 'found',
      )
      if (wanted.length === 0) break
      for (const verdict of await this.#repair(wanted, info)) verdicts.set(subject(verdict.finding), verdict)
      const next = await observe(this.#deps, hostsOf(wanted), info)
      open = (await this.#confirmed(next, request, info)).findings
      for (const finding of open) {
        const before = verdicts.get(subject(finding))?.outcome
        if (before === undefined) verdicts.set(subject(finding), { finding, outcome: 'found' })
        if (before !== 'repaired') continue
        verdicts.set(subject(finding), { finding, outcome: 'not repaired', failure: 'it was gone, and came back' })
      }
    }
    return [...verdicts.values()]
  }

  /** Asks for all of them, and waits for what it was to bring about. */
  async #repair(wanted: readonly Finding[], info: RequestInfo): Promise<readonly Verdict[]> {
    const { mendedWithinMs = 15_000 } = this.#deps
    const limiter = new Limiter(REPAIRS_AT_A_TIME)
    const asked = await Promise.all(
      wanted.map((finding) => limiter.run(async () => ({ finding, failure: await repair(this.#deps, finding, info) }))),
    )
    const waiting = new Set(asked.filter(({ failure }) => failure === undefined).map(({ finding }) => finding))
    for (const deadline = Date.now() + mendedWithinMs; waiting.size > 0 && Date.now() < deadline; ) {
      const { seen } = await observe(this.#deps, hostsOf([...waiting]), info)
      for (const finding of waiting) if (isMended(finding, seen)) waiting.delete(finding)
      if (waiting.size > 0) await pause(LOOK_AGAIN_MS, info.signal)
      info.signal.throwIfAborted()
    }
    const late = `asked for, and not done within ${mendedWithinMs / 1000} s`
    return asked.map(({ finding, failure }) =>
      this.#verdict(finding, failure ?? (waiting.has(finding) ? late : undefined), info),
    )
  }

  #verdict(finding: Finding, failure: string | undefined, { context }: RequestInfo): Verdict {
    const { kind, host, uuid, repair: done } = finding
    const facts = { kind, host, instance_uuid: uuid, action: done?.action, request_id: context.request_id }
    if (failure === undefined) this.#deps.logger.info(facts, `audit: repaired: ${finding.problem}`)
    else this.#deps.logger.warn({ ...facts, failure }, `audit: not repaired: ${finding.problem}`)
    return failure === undefined ? { finding, outcome: 'repaired' } : { finding, outcome: 'not repaired', failure }
  }
}

function hostsOf(findings: readonly Finding[]): readonly string[] {
  return [...new Set(findings.map(({ host }) => host))]
}
