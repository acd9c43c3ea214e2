import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { Column } from './column.ts'

/** What one weigher says of each host, in its own unit. */
export class WeightColumn extends Column<Float64Array> {
  readonly #weigher: HostWeigher
  readonly #request: SchedulingRequest

  constructor(weigher: HostWeigher, request: SchedulingRequest) {
    super(new Float64Array(0), 0)
    this.#weigher = weigher
    this.#request = request
  }

  protected override look(place: number, host: HostState | undefined): void {
    this.values[place] = host === undefined ? 0 : this.#weigher.weigh(host, this.#request)
  }
}
