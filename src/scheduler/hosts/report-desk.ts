import type { Logger } from 'pino'
import type { HostReport } from '../../objects/host-report.ts'
import type { Placement } from '../placement/placement.ts'

/** Reports are gathered for so long: a sign of life that is written this much later is early enough. */
const GATHER_MS = 500

interface ReportDeskOptions {
  readonly placement: Pick<Placement, 'recordHost' | 'noteSeen'>
  /** Has the host reported before, to whomever? */
  readonly isKnown: (host: string) => boolean
  readonly logger: Logger
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
  #waiting = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | undefined
  #noting = Promise.resolve()

  constructor({ placement, isKnown, logger }: ReportDeskOptions) {
    this.#placement = placement
    this.#isKnown = isKnown
    this.#logger = logger
  }

  /** Of a host that is new it is written at once; else soon. */
  async take(report: HostReport, request_id: string): Promise<void> {
    if (!this.#isKnown(report.host)) return await this.#record({ report, request_id })
    this.#waiting.set(report.host, { report, request_id })
    this.#timer ??= setTimeout(() => this.#noteLater(), GATHER_MS)
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
      const same = new Set(await this.#placement.noteSeen(waiting.map(({ report }) => report)))
      for (const one of waiting) if (!same.has(one.report.host)) await this.#recordOrTell(one)
    } catch (error) {
      this.#logger.warn({ err: error, hosts: waiting.length }, 'reports of hosts are lost; the next ones come soon')
    }
  }

  async #recordOrTell(one: Waiting): Promise<void> {
    try {
      await this.#record(one)
    } catch (error) {
      this.#logger.warn({ err: error, host: one.report.host, request_id: one.request_id }, 'the report was not taken')
    }
  }

  async #record({ report, request_id }: Waiting): Promise<void> {
    const { host } = report
    const { changed, overcommitted, closed } = await this.#placement.recordHost(report)
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
}
