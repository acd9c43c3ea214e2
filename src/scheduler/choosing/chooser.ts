import { MAX_HOSTS_BY_NAME } from '../../objects/scheduling-report.ts'
import type { HostFilter } from '../filters/host-filter.ts'
import type { HostState } from '../host-state.ts'
import { LOST_CLAIM } from '../no-valid-host.ts'
import type { RejectionSummary } from '../scheduling-report.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import { nameHash } from '../tie-break.ts'
import type { WeighedHost } from '../weigh-hosts.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { weightOf } from '../weight.ts'
import { ColumnCache } from './column-cache.ts'
import type { KnownHosts } from './known-hosts.ts'
import { countVerdicts, namedRejections, passedPlaces } from './named-rejections.ts'
import { type Opinion, type Ranked, rank } from './rank.ts'
import { firstRejecting, LOST, PASSED, type PositionedFilter, RejectionColumn } from './rejection-column.ts'
import { type RequestKind, requestKind } from './request-kind.ts'
import { WeightColumn } from './weight-column.ts'

/** Some dozens of kinds of requests at 10,000 hosts. */
const CACHE_BYTES = 16 * 1024 * 1024

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

interface Verdicts {
  readonly values: Uint8Array
  readonly counts: Int32Array
}

const NONE_LOST: ReadonlyMap<string, string> = new Map()

/**
 * Filters and weighs all hosts, but looks only at those that changed since a request of this kind came last. What comes
 * out is exactly what `filterHosts` and `weighHosts` give.
 */
export class Chooser {
  readonly #hosts: KnownHosts
  readonly #shared: readonly PositionedFilter[]
  readonly #individual: readonly PositionedFilter[]
  readonly #extra: readonly PositionedFilter[]
  readonly #names: readonly string[]
  readonly #filters: readonly HostFilter[]
  readonly #weighers: readonly HostWeigher[]
  readonly #extraWeighers: readonly HostWeigher[]
  readonly #seed: string
  readonly #columns: ColumnCache
  // Room to work in, as large as the columns.
  #verdicts: Verdicts = { values: new Uint8Array(0), counts: new Int32Array(256) }
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
    this.#weighers = weighers
    this.#extraWeighers = extraWeighers
    this.#names = [...weighers, ...extraWeighers].map(({ name }) => name)
    this.#seed = options.seed ?? ''
    this.#columns = new ColumnCache(options.cacheBytes ?? CACHE_BYTES)
  }

  /** @param lost hosts that this request has lost to faster claims, by name, and how */
  consider(request: SchedulingRequest, lost = NONE_LOST): Considered {
    this.#makeRoom()
    const kind = requestKind(request)
    const verdicts = this.#judge(request, kind, lost)
    const places = passedPlaces(verdicts.values, this.#hosts.places, this.#places)
    const opinions = [...this.#opinions(request, kind), ...this.#extraOpinions(request, places)]
    this.#columns.shrink(this.#filters.length + this.#names.length)
    const ranked = rank(places, {
      opinions,
      nameHashes: this.#hosts.nameHashes,
      instance: nameHash(this.#seed + request.spec.instance_uuid),
      limit: MAX_HOSTS_BY_NAME,
      sums: this.#sums,
    })
    return {
      passed: places.length,
      best: ranked.map((one) => this.#weighed(one, opinions)),
      rejections: this.#summary(request, verdicts, lost),
    }
  }

  /** Does no filter reject this host? */
  accepts(host: HostState, request: SchedulingRequest): boolean {
    return this.#filters.every((filter) => filter.reject(host, request) === undefined)
  }

  #makeRoom(): void {
    const room = this.#hosts.nameHashes.length
    if (this.#places.length >= room) return
    this.#verdicts = { values: new Uint8Array(room), counts: new Int32Array(256) }
    this.#places = new Int32Array(room)
    this.#sums = new Float64Array(room)
  }

  /** For each place the first filter in the order of the list that says no. */
  #judge(request: SchedulingRequest, kind: RequestKind, lost: ReadonlyMap<string, string>): Verdicts {
    const shared = this.#columns.get(`filters ${kind.key}`, () => new RejectionColumn(this.#shared, kind.request))
    shared.catchUp(this.#hosts)
    const individual = this.#individual.flatMap((one) => this.#individualColumn(one, request) ?? [])
    if (individual.length === 0 && this.#extra.length === 0 && lost.size === 0) return shared
    const { values, counts } = this.#verdicts
    const { places } = this.#hosts
    values.set(shared.values.subarray(0, places))
    for (const column of individual) keepLower(values, column.values, places)
    for (const host of lost.keys()) {
      const place = this.#hosts.placeOf(host)
      if (place !== undefined) values[place] = LOST
    }
    if (this.#extra.length > 0) this.#askExtra(values, request)
    return { values, counts: countVerdicts(values, places, counts) }
  }

  #individualColumn(one: PositionedFilter, request: SchedulingRequest): RejectionColumn | undefined {
    const concern = one.filter.concern?.(request)
    if (concern === undefined) return undefined
    const column = this.#columns.get(`filter ${one.position} ${concern}`, () => new RejectionColumn([one], request))
    column.catchUp(this.#hosts)
    return column
  }

  #askExtra(values: Uint8Array, request: SchedulingRequest): void {
    for (let place = 0; place < this.#hosts.places; place++) {
      if (values[place] === PASSED) values[place] = firstRejecting(this.#extra, this.#aged(place), request)
    }
  }

  #opinions(request: SchedulingRequest, kind: RequestKind): readonly Opinion[] {
    return this.#weighers.flatMap((weigher, n) => {
      const { name, multiplier } = weigher
      const about = weigher.concern === undefined ? kind.key : weigher.concern(request)
      if (about === undefined || multiplier === 0) return []
      const asked = weigher.concern === undefined ? kind.request : request
      const column = this.#columns.get(`weigher ${n} ${about}`, () => new WeightColumn(weigher, asked))
      column.catchUp(this.#hosts)
      return [{ name, multiplier, values: column.values }]
    })
  }

  #extraOpinions(request: SchedulingRequest, places: Int32Array): readonly Opinion[] {
    return this.#extraWeighers.map((weigher) => {
      const values = new Float64Array(this.#hosts.places)
      for (const place of places) values[place] = weigher.weigh(this.#aged(place), request)
      return { name: weigher.name, multiplier: weigher.multiplier, values }
    })
  }

  #weighed({ place, sum, parts }: Ranked, opinions: readonly Opinion[]): WeighedPlace {
    const weights: Record<string, number> = {}
    for (const name of this.#names) weights[name] = 0
    for (const [n, { name }] of opinions.entries()) weights[name] = weightOf(parts[n] ?? 0)
    return { place, host: this.#hosts.at(place) as HostState, weight: weightOf(sum), weights }
  }

  #summary(
    request: SchedulingRequest,
    { values, counts }: Verdicts,
    lost: ReadonlyMap<string, string>,
  ): RejectionSummary {
    const named = namedRejections(values, this.#hosts.places, counts, MAX_HOSTS_BY_NAME).map(({ place, position }) => {
      const host = this.#aged(place)
      const filter = this.#filters[position]
      return filter === undefined
        ? { host: host.host, filter: LOST_CLAIM, reason: lost.get(host.host) ?? '' }
        : { host: host.host, filter: filter.name, reason: filter.reject(host, request) ?? '' }
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

  #aged(place: number): HostState {
    return this.#hosts.aged(place) as HostState
  }
}

function keepLower(values: Uint8Array, others: Uint8Array, places: number): void {
  for (let place = 0; place < places; place++) {
    if ((others[place] as number) < (values[place] as number)) values[place] = others[place] as number
  }
}
