import type { SchedulingRequest } from '../scheduling-request.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import type { KindColumn } from './kind-column.ts'
import type { KnownHosts } from './known-hosts.ts'
import { countVerdicts, passedPlaces } from './named-rejections.ts'
import { type Opinion, type ScaledOpinion, weigh } from './rank.ts'
import { firstRejecting, LOST, PASSED, type PositionedFilter, type RejectionColumn } from './rejection-column.ts'

/** What was found out about all hosts; which of them passed, `sums` tells. */
export interface Findings {
  readonly verdicts: Uint8Array
  readonly counts: Int32Array
  readonly sums: Float64Array
  readonly opinions: readonly ScaledOpinion[]
}

/** What is of one request and not of its kind. */
interface OfRequest {
  readonly rejections: readonly RejectionColumn[]
  readonly opinions: readonly Opinion[]
  /** Hosts that it has lost to faster claims. */
  readonly lost: ReadonlyMap<string, string>
}

/** Finds out about all hosts for a request that is alone with those that pass: their weights hang together, so all are computed. */
export class AloneFindings {
  readonly #hosts: KnownHosts
  readonly #extra: readonly PositionedFilter[]
  readonly #extraWeighers: readonly HostWeigher[]
  // Room to work in, as large as the columns.
  #verdicts = new Uint8Array(0)
  readonly #counts = new Int32Array(256)
  #places = new Int32Array(0)
  #sums = new Float64Array(0)

  /** @param extra the user's own, which are asked anew each time, as are `extraWeighers` */
  constructor(hosts: KnownHosts, extra: readonly PositionedFilter[], extraWeighers: readonly HostWeigher[]) {
    this.#hosts = hosts
    this.#extra = extra
    this.#extraWeighers = extraWeighers
  }

  /** Is every request alone? */
  get hasExtra(): boolean {
    return this.#extra.length > 0 || this.#extraWeighers.length > 0
  }

  /** @returns what is true until the next one is asked for */
  find(request: SchedulingRequest, kind: KindColumn, { rejections, opinions, lost }: OfRequest): Findings {
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

  #askExtra(verdicts: Uint8Array, request: SchedulingRequest): void {
    for (let place = 0; place < this.#hosts.places; place++) {
      const host = verdicts[place] === PASSED ? this.#hosts.aged(place) : undefined
      if (host !== undefined) verdicts[place] = firstRejecting(this.#extra, host, request)
    }
  }

  #extraOpinions(request: SchedulingRequest, passed: Int32Array): readonly Opinion[] {
    return this.#extraWeighers.map((weigher) => {
      const values = new Float64Array(this.#hosts.places)
      for (const place of passed) {
        const host = this.#hosts.aged(place)
        if (host !== undefined) values[place] = weigher.weigh(host, request)
      }
      return { weigher, values }
    })
  }
}

function keepLower(values: Uint8Array, others: Uint8Array, places: number): void {
  for (let place = 0; place < places; place++) {
    if ((others[place] as number) < (values[place] as number)) values[place] = others[place] as number
  }
}
