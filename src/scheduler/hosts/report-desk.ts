import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import type { HostReport, UnchangedHost } from '../../objects/host-report.ts'
import type { Noted, ToldOfHost } from '../placement/feed.ts'
import type { Placement } from '../placement/placement.ts'
import { paced } from './paced.ts'
import { SaidOnce } from './said-once.ts'

/** Reports are gathered for so long: a sign of life that is written this much later is early enough. */
const GATHER_MS = 500
/** Who waits for an answer waits no longer than this for others that do. */
const ANSWER_PACE_MS = 250
/** A clock that is off by less may be as good as any, in milliseconds; a message on its way is part of it. */
const CLOCK_OFF_MS = 60_000

interface ReportDeskOptions {
  readonly placement: Pick<Placement, 'recordHost' | 'noteSeen' | 'refuseUnchanged'>
  /** Has the host reported before, to whomever? */
  readonly isKnown: (host: string) => boolean
  readonly logger: Logger
  /** What this machine's clock shows, in milliseconds since 1970. */
  readonly clock?: () => number
}

interface Waiting<Told = ToldOfHost> {
  readonly told: Told
  readonly request_id: string
}

/** Somebody waits to hear whether it was taken. */
interface Asking extends Waiting<HostReport> {
  /** Of what is noted. */
  note?: Noted
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
  /** The notes of those who wait for an answer. */
  readonly #answering: (one: Asking) => Promise<void>
  #waiting = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | undefined
  #noting = Promise.resolve()

  constructor({ placement, isKnown, logger, clock = Date.now }: ReportDeskOptions) {
    this.#placement = placement
    this.#isKnown = isKnown
    this.#logger = logger
    this.#clock = clock
    this.#answering = paced(ANSWER_PACE_MS, (asking) => this.#noteAsking(asking))
  }

  /** Reports that were not taken, by the code of the error. */
  get refused(): ReadonlyMap<string, number> {
    return this.#refused
  }

  /** Of a host that is new it is written at once; else soon. What is refused is counted, and said in the log. */
  async take(report: HostReport, request_id: string): Promise<void> {
    if (!this.#isKnown(report.host)) return await this.#recordOrTell({ told: report, request_id })
    this.#gather({ told: report, request_id })
  }

  /** Of a host that has what it told last, to whomever. */
  takeUnchanged(unchanged: UnchangedHost, request_id: string): void {
    this.#gather({ told: unchanged, request_id })
  }

  /**
   * Writes it at once, or with others that come now, for somebody who waits to hear whether it was taken.
   *
   * @returns the digest by which the host may say that nothing is new; undefined: it is to tell everything again
   * @throws InvalidInventory, DuplicateHost, StaleReport
   */
  async answer(report: HostReport, request_id: string): Promise<string | undefined> {
    this.#compareClocks(report)
    const one: Asking = { told: report, request_id }
    try {
      if (this.#isKnown(report.host)) await this.#answering(one)
      if (one.note === undefined) return await this.#record(one)
      if (one.note.follows !== null) this.#sayFollowed(one, one.note.follows)
      return one.note.digest
    } catch (error) {
      this.#tell(one, toSevbusError(error))
      throw error
    }
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    this.#noteLater()
    await this.#noting
  }

  #gather(one: Waiting): void {
    // Two workers of one name must not push each other out: which of them is taken, the database says.
    const { host, worker } = one.told
    const key = `${host} ${worker?.worker_id}`
    const other = this.#waiting.get(key)?.told.worker
    if (other === undefined || worker === undefined || worker.sequence > other.sequence) this.#waiting.set(key, one)
    this.#timer ??= setTimeout(() => this.#noteLater(), GATHER_MS)
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
      const noted = await this.#placement.noteSeen(waiting.map(({ told }) => told))
      const followed = new Map(noted.map(({ told, follows }) => [told, follows]))
      for (const one of waiting) {
        const follows = followed.get(one.told)
        if (follows === undefined) await this.#recordOrTell(one)
        else if (follows !== null) this.#sayFollowed(one, follows)
      }
    } catch (error) {
      this.#logger.warn({ err: error, hosts: waiting.length }, 'reports of hosts are lost; the next ones come soon')
    }
  }

  async #noteAsking(asking: readonly Asking[]): Promise<void> {
    const noted = await this.#placement.noteSeen(asking.map(({ told }) => told))
    const notes = new Map(noted.map((note) => [note.told, note]))
    for (const one of asking) {
      const note = notes.get(one.told)
      if (note !== undefined) one.note = note
    }
  }

  async #recordOrTell(one: Waiting): Promise<void> {
    try {
      const { told, request_id } = one
      if ('report_digest' in told) await this.#placement.refuseUnchanged(told)
      else await this.#record({ told, request_id })
    } catch (error) {
      this.#tell(one, toSevbusError(error))
    }
  }

  async #record(one: Waiting<HostReport>): Promise<string | undefined> {
    const { told, request_id } = one
    const { host } = told
    const { changed, overcommitted, closed, digest, tookOverFrom } = await this.#placement.recordHost(told, {
      request_id,
    })
    if (tookOverFrom !== undefined) this.#sayFollowed(one, tookOverFrom)
    if (!changed) return digest
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
    return digest
  }

  #sayFollowed({ told: { host, worker }, request_id }: Waiting, follows: string): void {
    const { machine, pid } = worker ?? {}
    this.#logger.info({ host, machine, pid, follows, request_id }, 'another worker serves this host now')
  }

  /** What goes wrong at every report is said once. A late one is nothing that anybody could mend. */
  #tell({ told, request_id }: Waiting, error: SevbusError): void {
    const { code, message, details } = error
    this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1)
    const { host, worker } = told
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
