import type { HostFilter } from '../filters/host-filter.ts'
import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'
import { Column, grown } from './column.ts'

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
export class RejectionColumn extends Column {
  verdicts = new Uint8Array(0)
  /** How many hosts there are with each verdict. */
  readonly counts = new Int32Array(256)
  readonly #filters: readonly PositionedFilter[]
  readonly #request: SchedulingRequest

  constructor(filters: readonly PositionedFilter[], request: SchedulingRequest) {
    super()
    this.#filters = filters
    this.#request = request
  }

  override get bytes(): number {
    return this.verdicts.byteLength
  }

  protected override makeRoom(places: number): void {
    this.verdicts = grown(this.verdicts, places, NOBODY)
  }

  protected override look(place: number, host: HostState | undefined): void {
    this.judge(place, host)
  }

  /** @returns the verdict */
  protected judge(place: number, host: HostState | undefined): number {
    const before = this.verdicts[place] as number
    const now = host === undefined ? NOBODY : firstRejecting(this.#filters, host, this.#request)
    if (before === now) return now
    this.verdicts[place] = now
    this.counts[before] = (this.counts[before] as number) - 1
    this.counts[now] = (this.counts[now] as number) + 1
    return now
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
