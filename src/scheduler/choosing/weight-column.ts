import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { Column, grown } from './column.ts'

/** What one weigher says of each host, in its own unit. */
export class WeightColumn extends Column {
  values = new Float64Array(0)
  readonly #weigher: HostWeigher
  readonly #request: SchedulingRequest

  constructor(weigher: HostWeigher, request: SchedulingRequest) {
    super()
    this.#weigher = weigher
    this.#request = request
  }

  override get bytes(): number {
    return this.values.byteLength
  }

  protected override makeRoom(places: number): void {
    this.values = grown(this.values, places, 0)
  }

  protected override look(place: number, host: HostState | undefined): void {
    this.values[place] = host === undefined ? 0 : this.#weigher.weigh(host, this.#request)
  }
}
