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
import { ColumnCache } from './column-cache.ts'
import { KindColumn } from './kind-column.ts'
import type { KnownHosts } from './known-hosts.ts'
import { countVerdicts, namedRejections, passedPlaces } from './named-rejections.ts'
import { firstOf, type Opinion, type Ranked, type ScaledOpinion, weigh } from './rank.ts'
import { firstRejecting, LOST, PASSED, type PositionedFilter, RejectionColumn } from './rejection-column.ts'
import { requestKind } from './request-kind.ts'
import { WeightColumn } from './weight-column.ts'

/** Some eighty kinds of requests at 10,000 hosts. */
const CACHE_BYTES = 48 * 1024 * 1024

/** For so many calls of `keepUp`, one each second, a kind of request counts as one that comes again soon. */
const CALLS_KEPT_UP = 30

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

/** What was found out about all hosts; which of them passed, `sums` tells. */
interface Findings {
  readonly verdicts: Uint8Array
  readonly counts: Int32Array
  readonly sums: Float64Array
  readonly opinions: readonly ScaledOpinion[]
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
  readonly #extra: readonly PositionedFilter[]
  readonly #weighers: readonly HostWeigher[]
  readonly #sharedWeighers: readonly HostWeigher[]
  readonly #individualWeighers: readonly HostWeigher[]
  readonly #extraWeighers: readonly HostWeigher[]
  readonly #seed: string
  readonly #columns: ColumnCache
  // Room to work in, as large as the columns.
  #verdicts = new Uint8Array(0)
  readonly #counts = new Int32Array(256)
  #places = new Int32Array(0)
  #sums = new Float64Array(0)

  constructor(options: ChooserOptions) {
    const { filters, extraFilters = [], weighers, extraWeighers = [] } = options
    this.#hosts = options.hosts
    this.#filters = [...filters, ...extraFilters]
    const positioned = this.#filters.map((filter, position) => ({ filter, position }))
    const own = positioned.slice(0, filters.length)
    this.#shared = own.filter(({ filter }) => filter.concern === undefined)
    this.#individual = own.filter(({ filter }) => filter.concern !== undefined)
    this.#extra = positioned.slice(filters.length)
    this.#weighers = [...weighers, ...extraWeighers]
    this.#sharedWeighers = weighers.filter(({ concern }) => concern === undefined)
    this.#individualWeighers = weighers.filter(({ concern }) => concern !== undefined)
    this.#extraWeighers = extraWeighers
    this.#seed = options.seed ?? ''
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
   * hundreds of hosts need not do it first. Who waits in between gets a turn.
   */
  async keepUp(): Promise<void> {
    for (const column of this.#columns.inUse(CALLS_KEPT_UP)) {
      column.catchUp(this.#hosts)
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
    const hasExtra = this.#extra.length > 0 || this.#extraWeighers.length > 0
    return isOfItsKind && !hasExtra ? kind : this.#findAlone(request, kind, rejections, opinions, lost)
  }

  /** For a request that is alone with the hosts that pass: their weights hang together, so all are computed. */
  #findAlone(
    request: SchedulingRequest,
    kind: KindColumn,
    rejections: readonly RejectionColumn[],
    opinions: readonly Opinion[],
    lost: ReadonlyMap<string, string>,
  ): Findings {
    this.#makeRoom()
    const { places } = this.#hosts
    const verdicts = this.#verdicts
    verdicts.set(kind.verdicts.subarray(0, places))
    for (const column of rejections) keepLower(verdicts, column.verdicts, places)
    for (const host of lost.keys()) {
      const place = this.#hosts.placeOf(host)
      if (place !== undefined) verdicts[place] = LOST
    }
    if (this.#extra.length > 0) this.#askExtra(verdicts, request)
    const passed = passedPlaces(verdicts, places, this.#places)
    const all = [...kind.opinions, ...opinions, ...this.#extraOpinions(request, passed)]
    const scaledOpinions = weigh(passed, all, this.#sums)
    const counts = countVerdicts(verdicts, places, this.#counts)
    return { verdicts, counts, sums: this.#sums, opinions: scaledOpinions }
  }

  #makeRoom(): void {
    const room = this.#hosts.nameHashes.length
    if (this.#places.length >= room) return
    this.#verdicts = new Uint8Array(room)
    this.#places = new Int32Array(room)
    this.#sums = new Float64Array(room)
  }

  /** Undefined: it rejects no host. */
  #individualRejections(one: PositionedFilter, request: SchedulingRequest): RejectionColumn | undefined {
    const concern = one.filter.concern?.(request)
    if (concern === undefined) return undefined
    const column = this.#columns.get(`filter ${one.position} ${concern}`, () => new RejectionColumn([one], request))
    column.catchUp(this.#hosts)
    return column.counts[one.position] === 0 ? undefined : column
  }

  #askExtra(verdicts: Uint8Array, request: SchedulingRequest): void {
    for (let place = 0; place < this.#hosts.places; place++) {
      if (verdicts[place] === PASSED) verdicts[place] = firstRejecting(this.#extra, this.#aged(place), request)
    }
  }

  #individualOpinion(weigher: HostWeigher, request: SchedulingRequest): Opinion | undefined {
    const concern = weigher.concern?.(request)
    if (concern === undefined) return undefined
    const column = this.#columns.get(`weigher ${weigher.name} ${concern}`, () => new WeightColumn(weigher, request))
    column.catchUp(this.#hosts)
    return { weigher, values: column.values }
  }

  #extraOpinions(request: SchedulingRequest, passed: Int32Array): readonly Opinion[] {
    return this.#extraWeighers.map((weigher) => {
      const values = new Float64Array(this.#hosts.places)
      for (const place of passed) values[place] = weigher.weigh(this.#aged(place), request)
      return { weigher, values }
    })
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

function keepLower(values: Uint8Array, others: Uint8Array, places: number): void {
  for (let place = 0; place < places; place++) {
    if ((others[place] as number) < (values[place] as number)) values[place] = others[place] as number
  }
}
