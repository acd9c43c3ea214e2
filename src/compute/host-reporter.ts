import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../errors.ts'
import type { HostReport } from '../objects/host-report.ts'
import type { RpcClient } from '../rpc/client.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import type { HostStanding } from './host-standing.ts'
import type { HostView } from './host-view.ts'
import { HypervisorWatch, type HypervisorWatchOptions, SILENT_AFTER_MS } from './hypervisor-watch.ts'
import { hostReport, type ResourceOptions } from './resource-tracker.ts'
import type { VirtDriver } from './virt-driver.ts'
import type { WorkerIdentity } from './worker-identity.ts'

export interface HostReporterOptions {
  readonly host: string
  readonly identity: WorkerIdentity
  readonly standing: Pick<HostStanding, 'accepted' | 'refused' | 'unanswered' | 'isServing' | 'throwIfRefused'>
  readonly driver: Pick<VirtDriver, 'description' | 'hypervisorType' | 'resources'>
  /** What of the host is offered now. */
  readonly view: Pick<HostView, 'look'>
  readonly client: Pick<RpcClient, 'of'>
  readonly logger: Logger
  readonly resources: ResourceOptions
  /** How many builds are under way. */
  readonly ioOps: () => number
  readonly traits: readonly string[]
  readonly reportIntervalSeconds: number
  /** What was known of the host before the worker was restarted. */
  readonly lastLook?: HypervisorWatchOptions['lastLook']
  /** Milliseconds, by a clock that never jumps. */
  readonly now?: () => number
  /** From when on a hypervisor that does not answer is told, in milliseconds. */
  readonly silentAfterMs?: number | undefined
}

/** After a report that did not get through; so the order in which workers start does not matter. */
const RETRY_SECONDS = 1
/** A scheduler that has not answered by then is asked again. */
const ANSWER_MS = 5000
/** Reports that say nothing new are answered so seldom: an answer costs the scheduler more than a sign of life. */
const ANSWER_EVERY = 10
/** Who has told nothing for so many intervals may have been replaced meanwhile. */
const DOUBT_AFTER_INTERVALS = 3
/** However short the interval is. */
const DOUBT_AFTER_MS_AT_LEAST = 2000
/** So long a report waits for the hypervisor at least, however short the interval is, in milliseconds. */
const LOOK_MS_AT_LEAST = 1000
/** For the goodbye, in milliseconds: without it the next worker only waits longer. */
const LEAVE_MS = 2000
/** Another worker is the one of this host. */
const REFUSALS: ReadonlySet<string> = new Set(['DUPLICATE_HOST', 'STALE_REPORT'])

/**
 * Tells the scheduler that the host lives and what it offers, now and at every interval. The hypervisor is asked anew
 * each time, so a change of BIOS, kernel or libvirt is published without a restart; one that does not answer is told, too.
 * What cannot be told counts as a missed heartbeat, never as a failure of the worker; what is refused because another worker has the host's name ends
 * its serving.
 */
export class HostReporter {
  readonly #options: HostReporterOptions
  readonly #now: () => number
  readonly #hypervisor: HypervisorWatch
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #reporting: Promise<void> | undefined
  #lastFailure: SevbusError | undefined
  #lastTrouble: string | undefined = 'the host has not reported yet'
  /** What was answered last, and how many reports ago; its digest as long as nothing else was told since. */
  #answered:
    | {
        readonly content: string
        readonly told: string
        digest: string | undefined
        reports: number
        /** The scheduler's name that signs of life go to. */
        readonly server: string | undefined
      }
    | undefined
  /** When what was told last was begun: an answer may wait for a process that was suspended. */
  #toldAt = Number.NEGATIVE_INFINITY
  /** As long as it is in doubt whether this worker is the one of its host. */
  #asking: Promise<void> | undefined

  constructor(options: HostReporterOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    const { reportIntervalSeconds, silentAfterMs = SILENT_AFTER_MS } = options
    // The host must not count as down meanwhile.
    const waitMs = Math.min(Math.max(reportIntervalSeconds * 1000, LOOK_MS_AT_LEAST), silentAfterMs)
    const onAnswer = () => void this.report()
    this.#hypervisor = new HypervisorWatch({ ...options, now: this.#now, waitMs, silentAfterMs, onAnswer })
  }

  readonly name = 'host report'

  /** Why the scheduler does not know this host as it is now. */
  async trouble(): Promise<string | undefined> {
    return this.#lastTrouble ?? this.#hypervisor.trouble
  }

  /** Resolves after the first report, sent or not. */
  async start(): Promise<void> {
    await this.report()
  }

  /** Reports out of turn; while a report is under way, waits for that one. Never throws. */
  report(): Promise<void> {
    clearTimeout(this.#timer)
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = undefined
      this.#scheduleNext()
    })
    return this.#reporting
  }

  /**
   * To be asked before a request is taken up: a process that was suspended, or cut off from the broker, may not be the
   * one of its host any more, and is handed what waited for it.
   *
   * @throws ServiceStopping
   */
  async confirm(): Promise<void> {
    if (this.#isInDoubt) this.#asking ??= this.#ask()
    await this.#asking
    this.#options.standing.throwIfRefused()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#reporting
  }

  /** Says goodbye, when nothing is served any more, so that the next worker of this host need not wait. Never throws. */
  async leave(): Promise<void> {
    const { host, identity, client, standing, logger } = this.#options
    if (this.#answered === undefined || this.#lastFailure !== undefined || standing.isServing) return
    const { worker_id, sequence } = identity.next()
    try {
      const options = { timeoutMs: LEAVE_MS, expirationMs: LEAVE_MS }
      await client.of(SchedulerApi).leaveHost(newRequestContext(), { host, worker_id, sequence }, options)
    } catch (error) {
      logger.warn({ code: toSevbusError(error).code }, 'the scheduler could not be told that this worker leaves')
    }
  }

  /** All requests that came meanwhile wait for this one answer. Never throws. */
  async #ask(): Promise<void> {
    // What is on its way may be from before the doubt, and its answer, too.
    await this.#reporting
    this.#answered = undefined
    if (this.#isInDoubt) await this.report()
    // Once: where nobody answers, not each request is to wait for that.
    this.#toldAt = this.#now()
    this.#asking = undefined
  }

  get #isInDoubt(): boolean {
    const intervalsMs = DOUBT_AFTER_INTERVALS * this.#options.reportIntervalSeconds * 1000
    return this.#now() - this.#toldAt > Math.max(intervalsMs, DOUBT_AFTER_MS_AT_LEAST)
  }

  #scheduleNext(): void {
    if (this.#stop.signal.aborted) return
    const { reportIntervalSeconds } = this.#options
    // One that is refused comes in its turn: it changes nothing by asking more often.
    const isAgain = this.#lastFailure !== undefined && !REFUSALS.has(this.#lastFailure.code)
    const seconds = isAgain ? Math.min(RETRY_SECONDS, reportIntervalSeconds) : reportIntervalSeconds
    this.#timer = setTimeout(() => void this.report(), seconds * 1000)
  }

  async #report(): Promise<void> {
    const { standing } = this.#options
    const { signal } = this.#stop
    if (signal.aborted) return
    const begunAt = this.#now()
    try {
      const report = await this.#look(signal)
      if (await this.#send(report, signal)) await standing.accepted()
      this.#toldAt = begunAt
      this.#noteSuccess()
    } catch (thrown) {
      if (signal.aborted) return
      const error = toSevbusError(thrown)
      this.#noteFailure(error)
      this.#answered = undefined
      if (REFUSALS.has(error.code)) standing.refused(error)
      else await standing.unanswered().catch((failed: unknown) => this.#noteFailure(toSevbusError(failed)))
    }
  }

  async #look(signal: AbortSignal): Promise<HostReport> {
    const { host, driver, resources: options, traits, reportIntervalSeconds } = this.#options
    const look = await this.#hypervisor.look(signal)
    const { hypervisorType } = driver
    const ioOps = this.#options.ioOps()
    return hostReport({ host, hypervisorType, ...look, options, ioOps, traits, reportIntervalSeconds })
  }

  /** @returns whether a scheduler has answered */
  async #send(told: HostReport, signal: AbortSignal): Promise<boolean> {
    const { client, identity, reportIntervalSeconds } = this.#options
    const scheduler = client.of(SchedulerApi)
    const worker = identity.next()
    const report = { ...told, worker }
    const intervalMs = Math.max(1000, reportIntervalSeconds * 1000)
    // How many builds are under way changes all the time, and is no reason to ask.
    const content = JSON.stringify({ ...told, io_ops: 0 })
    const answered = this.#isInDoubt ? undefined : this.#answered
    if (answered?.content === content && answered.reports < ANSWER_EVERY) {
      answered.reports++
      // A report that waits longer is stale: it must not make a dead host look alive.
      const options = { timeoutMs: intervalMs, signal, expirationMs: reportIntervalSeconds * 2000 }
      if (answered.told !== JSON.stringify(told)) answered.digest = undefined
      const { digest: report_digest } = answered
      if (report_digest === undefined) await scheduler.reportHost(newRequestContext(), { report }, options)
      else {
        const to = answered.server === undefined ? {} : { server: answered.server }
        const unchanged = { host: told.host, report_digest, worker }
        await scheduler.reportHostUnchanged(newRequestContext(), unchanged, { ...options, ...to })
      }
      return false
    }
    const timeoutMs = Math.min(intervalMs, ANSWER_MS)
    const taken = await scheduler.announceHost(newRequestContext(), { report }, { timeoutMs, signal })
    const { report_digest: digest, unchanged_server: server } = taken
    this.#answered = { content, told: JSON.stringify(told), digest, reports: 0, server }
    return true
  }

  #noteSuccess(): void {
    if (this.#lastFailure !== undefined) this.#options.logger.info('reports reach the scheduler again')
    this.#lastFailure = undefined
    this.#lastTrouble = undefined
  }

  /** Once for each kind of failure: an hour without a scheduler is one line. */
  #noteFailure(error: SevbusError): void {
    const { code, message } = error
    if (code !== this.#lastFailure?.code && !REFUSALS.has(code))
      this.#options.logger.warn({ code }, `the host could not be reported: ${message}`)
    this.#lastFailure = error
    this.#lastTrouble = `the last report did not get through: ${message}`
  }
}
