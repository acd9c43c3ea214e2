import type { HostFilter } from '../filters/host-filter.ts'
import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import { Column } from './column.ts'

/** Where no filter said no. What is below `LOST` is a filter's position in the list. */
export const PASSED = 255
/** Where no host is. */
export const NOBODY = 254
/** Lost to a faster claim, by the request at hand. */
export const LOST = 253

export interface PositionedFilter {
  readonly position: number
  readonly filter: HostFilter
}

/** For each host the position of the first of some filters that rejects it. */
export class RejectionColumn extends Column<Uint8Array> {
  /** How many hosts there are with each value. */
  readonly counts = new Int32Array(256)
  readonly #filters: readonly PositionedFilter[]
  readonly #request: SchedulingRequest

  constructor(filters: readonly PositionedFilter[], request: SchedulingRequest) {
    super(new Uint8Array(0), NOBODY)
    this.#filters = filters
    this.#request = request
  }

  protected override look(place: number, host: HostState | undefined): void {
    const before = this.values[place] as number
    const now = host === undefined ? NOBODY : firstRejecting(this.#filters, host, this.#request)
    this.values[place] = now
    this.counts[before] = (this.counts[before] as number) - 1
    this.counts[now] = (this.counts[now] as number) + 1
  }
}

/** Its position, or `PASSED`. */
export function firstRejecting(
  filters: readonly PositionedFilter[],
  host: HostState,
  request: SchedulingRequest,
): number {
  for (const { filter, position } of filters) if (filter.reject(host, request) !== undefined) return position
  return PASSED
}
