import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import type { HostReport } from '../../objects/host-report.ts'
import type { Placement } from '../placement/placement.ts'
import { SaidOnce } from './said-once.ts'

/** Reports are gathered for so long: a sign of life that is written this much later is early enough. */
const GATHER_MS = 500
/** A clock that is off by less may be as good as any, in milliseconds; a message on its way is part of it. */
const CLOCK_OFF_MS = 60_000

interface ReportDeskOptions {
  readonly placement: Pick<Placement, 'recordHost' | 'noteSeen'>
  /** Has the host reported before, to whomever? */
  readonly isKnown: (host: string) => boolean
  readonly logger: Logger
  /** What this machine's clock shows, in milliseconds since 1970. */
  readonly clock?: () => number
}

interface Waiting {
  readonly report: HostReport
  readonly request_id: string
}

/**
 * Takes the reports of hosts. Nearly all say what the last one said, so those of hosts that are known are gathered and
 * noted in one statement; what turns out to be news is written after it, each by itself.
 */
export class ReportDesk {
  readonly #placement: ReportDeskOptions['placement']
  readonly #logger: Logger
  readonly #isKnown: (host: string) => boolean
  readonly #clock: () => number
  readonly #said = new SaidOnce()
  readonly #refused = new Map<string, number>()
  #waiting = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | undefined
  #noting = Promise.resolve()

  constructor({ placement, isKnown, logger, clock = Date.now }: ReportDeskOptions) {
    this.#placement = placement
    this.#isKnown = isKnown
    this.#logger = logger
    this.#clock = clock
  }

  /** Reports that were not taken, by the code of the error. */
  get refused(): ReadonlyMap<string, number> {
    return this.#refused
  }

  /** Of a host that is new it is written at once; else soon. What is refused is counted, and said in the log. */
  async take(report: HostReport, request_id: string): Promise<void> {
    if (!this.#isKnown(report.host)) return await this.#recordOrTell({ report, request_id })
    // Two workers of one name must not push each other out: which of them is taken, the database says.
    const key = `${report.host} ${report.worker?.worker_id}`
    const other = this.#waiting.get(key)?.report.worker
    if (other === undefined || report.worker === undefined || report.worker.sequence > other.sequence)
      this.#waiting.set(key, { report, request_id })
    this.#timer ??= setTimeout(() => this.#noteLater(), GATHER_MS)
  }

  /**
   * Writes it at once, for somebody who waits to hear whether it was taken.
   *
   * @throws InvalidInventory, DuplicateHost, StaleReport
   */
  async answer(report: HostReport, request_id: string): Promise<void> {
    this.#compareClocks(report)
    try {
      await this.#record({ report, request_id })
    } catch (error) {
      this.#tell({ report, request_id }, toSevbusError(error))
      throw error
    }
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    this.#noteLater()
    await this.#noting
  }

  #noteLater(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiting = [...this.#waiting.values()]
    this.#waiting = new Map()
    if (waiting.length > 0) this.#noting = this.#noting.then(() => this.#note(waiting))
  }

  async #note(waiting: readonly Waiting[]): Promise<void> {
    try {
      const noted = new Set(await this.#placement.noteSeen(waiting.map(({ report }) => report)))
      for (const one of waiting) if (!noted.has(one.report)) await this.#recordOrTell(one)
    } catch (error) {
      this.#logger.warn({ err: error, hosts: waiting.length }, 'reports of hosts are lost; the next ones come soon')
    }
  }

  async #recordOrTell(one: Waiting): Promise<void> {
    try {
      await this.#record(one)
    } catch (error) {
      this.#tell(one, toSevbusError(error))
    }
  }

  async #record({ report, request_id }: Waiting): Promise<void> {
    const { host } = report
    const { changed, overcommitted, closed, tookOverFrom } = await this.#placement.recordHost(report)
    if (tookOverFrom !== undefined) {
      const { machine, pid } = report.worker ?? {}
      this.#logger.info(
        { host, machine, pid, follows: tookOverFrom, request_id },
        'another worker serves this host now',
      )
    }
    if (!changed) return
    this.#logger.info({ host, request_id }, 'host reported a change')
    for (const inventory of overcommitted) {
      this.#logger.warn(
        { host, ...inventory, request_id },
        'instances use more than the host has; it takes no more of them until enough are gone',
      )
    }
    for (const pool of closed) {
      this.#logger.warn(
        { host, ...pool, request_id },
        'the host offers a model that is off until the last slot of the other is given back',
      )
    }
  }

  /** What goes wrong at every report is said once. A late one is nothing that anybody could mend. */
  #tell({ report, request_id }: Waiting, error: SevbusError): void {
    const { code, message, details } = error
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
    const { host, worker } = report
    const facts = { host, request_id, code, reason: message }
    if (code === 'STALE_REPORT') {
      this.#logger.debug(facts, 'a late report was dropped')
      return
    }
    const cause = code === 'DUPLICATE_HOST' ? `${code} ${details.holder_id}` : `${code} ${message}`
    if (!this.#said.isNews(`${host} ${worker?.worker_id}`, cause)) return
    const isRefusal = code === 'DUPLICATE_HOST' || code === 'INVALID_INVENTORY'
    this.#logger.warn(isRefusal ? facts : { ...facts, err: error }, 'the report was not taken')
  }

  /** Only said: who lives and whose report is the newest, nobody's clock decides. */
  #compareClocks({ host, worker }: HostReport): void {
    if (worker === undefined) return
    const aheadMs = worker.clock_ms - this.#clock()
    if (Math.abs(aheadMs) <= CLOCK_OFF_MS) {
      this.#said.mended(`clock of ${host}`)
      return
    }
    const state = aheadMs > 0 ? 'ahead of' : 'behind'
    if (!this.#said.isNews(`clock of ${host}`, state)) return
    const seconds = Math.round(Math.abs(aheadMs) / 1000)
    const { machine, pid } = worker
    this.#logger.warn(
      { host, machine, pid, clock_ahead_seconds: aheadMs > 0 ? seconds : -seconds },
      `the clock of this host is ${seconds} s ${state} this scheduler's; its notifications carry that time: set one of them right (NTP)`,
    )
  }
}
