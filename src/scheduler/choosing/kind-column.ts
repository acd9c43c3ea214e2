import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { type Scale, scaleBetween, scaled } from '../weight.ts'
import { grown } from './column.ts'
import { Extremes } from './extremes.ts'
import type { KnownHosts } from './known-hosts.ts'
import { NOT_RANKED, type Opinion } from './rank.ts'
import { PASSED, type PositionedFilter, RejectionColumn } from './rejection-column.ts'

/** What one weigher says of the hosts that passed, and what of its scale is in the sums. */
class OwnOpinion implements Opinion {
  readonly weigher: HostWeigher
  readonly extremes = new Extremes()
  values = new Float64Array(0)
  scale: Scale | undefined

  constructor(weigher: HostWeigher) {
    this.weigher = weigher
  }
}

/**
 * What all requests of a kind have in common: which hosts their filters pass, and how these are weighed. After a change
 * the weights of the hosts that changed are computed anew, and those of all where the scale of a weigher has moved.
 */
export class KindColumn extends RejectionColumn {
  /** Of each place, in parts (`weight.ts`). */
  sums = new Float64Array(0)
  readonly opinions: readonly OwnOpinion[]
  readonly #request: SchedulingRequest
  #touched: number[] = []

  constructor(filters: readonly PositionedFilter[], weighers: readonly HostWeigher[], request: SchedulingRequest) {
    super(filters, request)
    this.opinions = weighers.map((weigher) => new OwnOpinion(weigher))
    this.#request = request
  }

  override get bytes(): number {
    return super.bytes + this.sums.byteLength * (1 + this.opinions.length)
  }

  override catchUp(hosts: KnownHosts): void {
    super.catchUp(hosts)
    if (this.#touched.length > 0) this.#weighTouched(hosts.places)
  }

  protected override makeRoom(places: number): void {
    super.makeRoom(places)
    this.sums = grown(this.sums, places, NOT_RANKED)
    for (const opinion of this.opinions) opinion.values = grown(opinion.values, places, 0)
  }

  protected override look(place: number, host: HostState | undefined): void {
    const didPass = this.verdicts[place] === PASSED
    const passes = this.judge(place, host) === PASSED
    if (!didPass && !passes) return
    this.#touched.push(place)
    for (const { weigher, extremes, values } of this.opinions) {
      const before = values[place] as number
      const now = passes ? weigher.weigh(host as HostState, this.#request) : 0
      if (didPass && passes && before === now) continue
      // First what comes: the only value at its end may have moved a little.
      if (passes) extremes.add(now)
      if (didPass) extremes.remove(before)
      values[place] = now
    }
  }

  #weighTouched(places: number): void {
    for (const opinion of this.opinions) this.#rescale(opinion, places)
    for (const place of this.#touched)
      this.sums[place] = this.verdicts[place] === PASSED ? this.#sum(place) : NOT_RANKED
    this.#touched = []
  }

  /** Brings the sums from the scale that is in them to that of the values as they are. */
  #rescale(opinion: OwnOpinion, places: number): void {
    const { extremes, values, weigher, scale: before } = opinion
    if (!extremes.isKnown) this.#seek(extremes, values, places)
    const now = scaleBetween(extremes.lowest, extremes.highest, weigher.multiplier)
    opinion.scale = now
    if (before?.lowest === now?.lowest && before?.factor === now?.factor) return
    const { sums } = this
    // Where no host is ranked the sum stays what it is: nothing that is finite changes an infinity.
    for (let place = 0; place < places; place++) {
      const value = values[place] as number
      const part = (now === undefined ? 0 : scaled(value, now)) - (before === undefined ? 0 : scaled(value, before))
      sums[place] = (sums[place] as number) + part
    }
  }

  #seek(extremes: Extremes, values: Float64Array, places: number): void {
    extremes.forget()
    for (let place = 0; place < places; place++) {
      if (this.verdicts[place] === PASSED) extremes.add(values[place] as number)
    }
  }

  #sum(place: number): number {
    let sum = 0
    for (const { scale, values } of this.opinions) {
      if (scale !== undefined) sum += scaled(values[place] as number, scale)
    }
    return sum
  }
}
