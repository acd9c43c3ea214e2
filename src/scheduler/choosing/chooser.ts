import { setImmediate as nextTurn } from 'node:timers/promises'
import { MAX_HOSTS_BY_NAME } from '../../objects/scheduling-report.ts'
import type { HostFilter } from '../filters/host-filter.ts'
import type { HostState } from '../host-state.ts'
import { LOST_CLAIM } from '../no-valid-host.ts'
import type { RejectionSummary } from '../scheduling-report.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import { nameHash } from '../tie-break.ts'
import type { WeighedHost } from '../weigh-hosts.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { scaled, weightOf } from '../weight.ts'
import { AloneFindings, type Findings } from './alone-findings.ts'
import { ColumnCache } from './column-cache.ts'
import { KindColumn } from './kind-column.ts'
import type { KnownHosts } from './known-hosts.ts'
import { namedRejections } from './named-rejections.ts'
import { firstOf, type Opinion, type Ranked } from './rank.ts'
import { LOST, PASSED, type PositionedFilter, RejectionColumn } from './rejection-column.ts'
import { requestKind } from './request-kind.ts'
import { WeightColumn } from './weight-column.ts'

/** Some eighty kinds of requests at 10,000 hosts. */
const CACHE_BYTES = 48 * 1024 * 1024

/** For so many calls of `keepUp`, one each second, a kind of request counts as one that comes again soon. */
const CALLS_KEPT_UP = 30
/** What one call may take, of the second until the next. One kind takes some 15 ms where 600 hosts have changed. */
const KEEP_UP_MS = 100

export interface ChooserOptions {
  readonly hosts: KnownHosts
  readonly filters: readonly HostFilter[]
  readonly weighers: readonly HostWeigher[]
  /** Filters and weighers of the user's own, after the others: asked anew each time, for who knows what they look at. */
  readonly extraFilters?: readonly HostFilter[]
  readonly extraWeighers?: readonly HostWeigher[]
  /** Another one orders hosts of equal weight in another way. */
  readonly seed?: string
  readonly cacheBytes?: number
  /** Milliseconds, by a clock that never jumps. */
  readonly now?: () => number
}

export interface WeighedPlace extends WeighedHost {
  readonly place: number
}

/** What is known of all hosts for one request. */
export interface Considered {
  /** Hosts that no filter rejects. */
  readonly passed: number
  /** The first of them, best first. */
  readonly best: readonly WeighedPlace[]
  readonly rejections: RejectionSummary
}

const NONE_LOST: ReadonlyMap<string, string> = new Map()

/**
 * Filters and weighs all hosts, but looks only at those that changed since a request of this kind came last. What comes
 * out is exactly what `filterHosts` and `weighHosts` give.
 */
export class Chooser {
  readonly #hosts: KnownHosts
  readonly #filters: readonly HostFilter[]
  readonly #shared: readonly PositionedFilter[]
  readonly #individual: readonly PositionedFilter[]
  readonly #weighers: readonly HostWeigher[]
  readonly #sharedWeighers: readonly HostWeigher[]
  readonly #individualWeighers: readonly HostWeigher[]
  readonly #alone: AloneFindings
  readonly #seed: string
  readonly #now: () => number
  readonly #columns: ColumnCache

  constructor(options: ChooserOptions) {
    const { filters, extraFilters = [], weighers, extraWeighers = [] } = options
    this.#hosts = options.hosts
    this.#filters = [...filters, ...extraFilters]
    const positioned = this.#filters.map((filter, position) => ({ filter, position }))
    const own = positioned.slice(0, filters.length)
    this.#shared = own.filter(({ filter }) => filter.concern === undefined)
    this.#individual = own.filter(({ filter }) => filter.concern !== undefined)
    this.#weighers = [...weighers, ...extraWeighers]
    this.#sharedWeighers = weighers.filter(({ concern }) => concern === undefined)
    this.#individualWeighers = weighers.filter(({ concern }) => concern !== undefined)
    this.#alone = new AloneFindings(options.hosts, positioned.slice(filters.length), extraWeighers)
    this.#seed = options.seed ?? ''
    this.#now = options.now ?? (() => performance.now())
    this.#columns = new ColumnCache(options.cacheBytes ?? CACHE_BYTES)
  }

  /** @param lost hosts that this request has lost to faster claims, by name, and how */
  consider(request: SchedulingRequest, lost = NONE_LOST): Considered {
    const findings = this.#find(request, lost)
    this.#columns.shrink(1 + this.#individual.length + this.#individualWeighers.length)
    const { sums, counts } = findings
    const { places, nameHashes } = this.#hosts
    const instance = nameHash(this.#seed + request.spec.instance_uuid)
    const best = firstOf(sums, places, nameHashes, instance, MAX_HOSTS_BY_NAME)
    return {
      passed: counts[PASSED] as number,
      best: best.map((ranked) => this.#weighed(ranked, findings)),
      rejections: this.#summary(request, findings, lost),
    }
  }

  /**
   * Looks at what has changed for the kinds of requests that came of late: one that comes when others have claimed
   * hundreds of hosts need not do it first. Who waits in between gets a turn. What tells requests of a kind apart (each
   * project has a column) is quickly looked at by who needs it, and there may be thousands; and of many kinds those that
   * came last get the time there is.
   */
  async keepUp(): Promise<void> {
    let spentMs = 0
    for (const column of this.#columns.inUse(CALLS_KEPT_UP)) {
      if (!(column instanceof KindColumn)) continue
      const began = this.#now()
      column.catchUp(this.#hosts)
      spentMs += this.#now() - began
      if (spentMs >= KEEP_UP_MS) return
      await nextTurn()
    }
  }

  /** Does no filter reject this host? */
  accepts(host: HostState, request: SchedulingRequest): boolean {
    return this.#filters.every((filter) => filter.reject(host, request) === undefined)
  }

  #find(request: SchedulingRequest, lost: ReadonlyMap<string, string>): Findings {
    const { key, request: ofKind } = requestKind(request)
    const kind = this.#columns.get(key, () => new KindColumn(this.#shared, this.#sharedWeighers, ofKind))
    kind.catchUp(this.#hosts)
    const rejections = this.#individual.flatMap((one) => this.#individualRejections(one, request) ?? [])
    const opinions = this.#individualWeighers.flatMap((one) => this.#individualOpinion(one, request) ?? [])
    const isOfItsKind = rejections.length === 0 && opinions.length === 0 && lost.size === 0
    return isOfItsKind && !this.#alone.hasExtra ? kind : this.#alone.find(request, kind, { rejections, opinions, lost })
  }

  /** Undefined: it rejects no host. */
  #individualRejections(one: PositionedFilter, request: SchedulingRequest): RejectionColumn | undefined {
    const concern = one.filter.concern?.(request)
    if (concern === undefined) return undefined
    const column = this.#columns.get(`filter ${one.position} ${concern}`, () => new RejectionColumn([one], request))
    column.catchUp(this.#hosts)
    return column.counts[one.position] === 0 ? undefined : column
  }

  #individualOpinion(weigher: HostWeigher, request: SchedulingRequest): Opinion | undefined {
    const concern = weigher.concern?.(request)
    if (concern === undefined) return undefined
    const column = this.#columns.get(`weigher ${weigher.name} ${concern}`, () => new WeightColumn(weigher, request))
    column.catchUp(this.#hosts)
    return { weigher, values: column.values }
  }

  #weighed({ place, sum }: Ranked, { opinions }: Findings): WeighedPlace {
    const weights: Record<string, number> = {}
    for (const { name } of this.#weighers) weights[name] = 0
    for (const { weigher, values, scale } of opinions) {
      if (scale !== undefined) weights[weigher.name] = weightOf(scaled(values[place] as number, scale))
    }
    return { place, host: this.#hosts.at(place) as HostState, weight: weightOf(sum), weights }
  }

  #summary(
    request: SchedulingRequest,
    { verdicts, counts }: Findings,
    lost: ReadonlyMap<string, string>,
  ): RejectionSummary {
    const { places } = this.#hosts
    const named = namedRejections(verdicts, places, counts, MAX_HOSTS_BY_NAME).map(({ place, position }) => {
      const { host } = this.#aged(place)
      const filter = this.#filters[position]
      return filter === undefined
        ? { host, filter: LOST_CLAIM, reason: lost.get(host) ?? '' }
        : { host, filter: filter.name, reason: this.#reason(filter, place, request) }
    })
    // In the order of their first hosts: who rejected as many comes in that order.
    const hosts = new Map(named.map(({ filter }) => [filter, 0]))
    for (let position = 0; position <= LOST; position++) {
      const count = counts[position] as number
      const name = this.#filters[position]?.name ?? LOST_CLAIM
      if (count > 0) hosts.set(name, (hosts.get(name) ?? 0) + count)
    }
    const rejected = [...hosts].map(([filter, count]) => ({ filter, hosts: count }))
    return { rejected: rejected.sort((a, b) => b.hosts - a.hosts), named }
  }

  /**
   * A claim on its way may have been made already, and then it is counted twice until its end is heard of. So the numbers are
   * those of as few claims as are reason enough: nobody hears that 6 of 5 slots are used.
   */
  #reason(filter: HostFilter, place: number, request: SchedulingRequest): string {
    for (const host of this.#hosts.filling(place)) {
      const reason = filter.reject(host, request)
      if (reason !== undefined) return reason
    }
    return ''
  }

  #aged(place: number): HostState {
    return this.#hosts.aged(place) as HostState
  }
}
