import type { Logger } from 'pino'
import { endedWithin } from '../../rpc/abortable.ts'
import type { Placement } from '../placement/placement.ts'
import { Coalesced } from './coalesced.ts'
import { HostTable } from './host-table.ts'
import { Liveness } from './liveness.ts'

/**
 * Signs of life that were committed late have an earlier time than others that were read. One that was later still is
 * missed, and nothing lost: before a host is held for dead, all are asked for.
 */
const LATE_MS = 1000

/** A look that is under way when it closes may end, for the database closes next; one that hangs is left alone. */
const LAST_LOOK_MS = 2000

interface HostViewOptions {
  readonly placement: Pick<Placement, 'changesSince' | 'hostsSeen' | 'noteDown'>
  readonly downAfterIntervals?: number
  /** How old it may be while nobody asks for more. */
  readonly refreshIntervalMs?: number
  /** Called after each look at the hosts that nobody has asked for. */
  readonly onLook?: () => Promise<void>
  readonly logger: Logger
  /** Milliseconds, by a clock that never jumps. */
  readonly now?: () => number
}

/** Keeps the hosts in memory as the database has them: read at the start, then what has changed. */
export class HostView {
  readonly table: HostTable
  readonly #placement: HostViewOptions['placement']
  readonly #liveness: Liveness
  readonly #logger: Logger
  readonly #now: () => number
  readonly #refreshIntervalMs: number
  readonly #onLook: () => Promise<void>
  readonly #claims = new Set<Promise<unknown>>()
  readonly #reading = new Coalesced(() => this.#read())
  readonly #looking = new Coalesced(() => this.#lookForLife())
  #cursor: string | undefined
  #latestSign: Date | undefined
  #readAt: number | undefined
  #timer: NodeJS.Timeout | undefined
  #ticking = Promise.resolve()
  #isStale = false
  #isClosed = false

  constructor(options: HostViewOptions) {
    const { placement, downAfterIntervals, refreshIntervalMs = 1000, logger, now = () => performance.now() } = options
    this.#placement = placement
    this.#refreshIntervalMs = refreshIntervalMs
    this.#onLook = options.onLook ?? (async () => {})
    // A look that comes much later than it should: who could not look cannot say that others were silent.
    const longestGapMs = 2 * refreshIntervalMs + 1000
    this.#liveness = new Liveness({ longestGapMs, ...(downAfterIntervals && { downAfterIntervals }) })
    this.table = new HostTable(this.#liveness)
    this.#logger = logger
    this.#now = now
  }

  /** Reads all hosts, and from then on what changes. */
  async start(): Promise<void> {
    await this.refreshAll()
    this.#logger.info({ hosts: this.table.size }, 'hosts were read')
    this.#tickLater()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await endedWithin(LAST_LOOK_MS, this.#ticking)
  }

  /** Seconds since the reading began that the memory comes from. */
  get ageSeconds(): number | undefined {
    return this.#readAt === undefined ? undefined : (this.#now() - this.#readAt) / 1000
  }

  /** @returns when all is known that was committed before the call */
  refresh(): Promise<void> {
    return this.#reading.run()
  }

  /** As `refresh`, with the signs of life. */
  async refreshAll(): Promise<void> {
    await this.refresh()
    await this.#looking.run()
  }

  /** A claim that is on its way: who refuses a request waits for its end first. */
  onItsWay<T>(claim: Promise<T>): Promise<T> {
    this.#claims.add(claim)
    const ended = () => this.#claims.delete(claim)
    claim.then(ended, ended)
    return claim
  }

  /** @returns when every claim has ended that is on its way now */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#claims)
  }

  async #read(): Promise<void> {
    const began = this.#now()
    const { told } = this.table
    const changes = await this.#placement.changesSince(this.#cursor)
    for (const host of changes.hosts) this.#liveness.watch(host)
    for (const host of this.table.apply(changes, told)) this.#liveness.forget(host)
    this.#cursor = changes.cursor
    this.#readAt = began
  }

  async #lookForLife(): Promise<void> {
    const changed = await this.#askForLife(this.#latestSign)
    if (this.#liveness.silent().length > 0) {
      // Once more, and of all: where the database's clock was set back, new signs look like old ones.
      changed.push(...(await this.#askForLife()))
      await this.#bury(this.#liveness.silent())
    }
    for (const host of changed) {
      this.table.liveOrDie(host)
      if (this.#liveness.isUp(host)) this.#logger.info({ host }, 'host is up again')
    }
  }

  async #askForLife(since?: Date): Promise<string[]> {
    const askedAt = this.#now()
    const seen = await this.#placement.hostsSeen(since)
    const latest = seen.reduce((time, { lastSeenUp }) => Math.max(time, lastSeenUp.getTime()), Number.NEGATIVE_INFINITY)
    if (Number.isFinite(latest)) this.#latestSign = new Date(latest - LATE_MS)
    return [...this.#liveness.observe(seen, askedAt)]
  }

  async #bury(hosts: readonly string[]): Promise<void> {
    if (hosts.length === 0) return
    this.#liveness.bury(hosts)
    for (const host of hosts) {
      this.table.liveOrDie(host)
      const seconds_silent = Math.round(this.#liveness.secondsSilent(host) ?? 0)
      this.#logger.warn({ host, seconds_silent }, 'host is down')
    }
    await this.#placement.noteDown(hosts)
  }

  #tickLater(): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.#ticking = this.#tick()
    }, this.#refreshIntervalMs)
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    await this.#refreshOrTell()
    this.#tickLater()
    await this.#onLook().catch((error: unknown) => {
      this.#logger.error(
        { err: error },
        'what was kept of earlier requests is not up to date: the next one looks itself',
      )
    })
  }

  async #refreshOrTell(): Promise<void> {
    try {
      await this.refreshAll()
      if (this.#isStale) this.#logger.info('hosts are read again')
      this.#isStale = false
    } catch (error) {
      if (this.#isClosed) return
      const facts = { err: error }
      if (!this.#isStale) this.#logger.warn(facts, 'hosts cannot be read: what is known grows old, and claims decide')
      this.#isStale = true
    }
  }
}
