import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'

/** One opinion on which host is better. Decides from these values alone: no clock, no chance, no question to anybody. */
export interface HostWeigher {
  /** As shown in reports, e.g. `RAM`. */
  readonly name: string
  /** How much it counts beside the others; negative turns its opinion round, 0 switches it off. */
  readonly multiplier: number
  /** In any unit: the values of all hosts are scaled to 0..1. The higher the better. */
  weigh(host: HostState, request: SchedulingRequest): number
  /**
   * For a weigher that looks at what tells a request from others of its kind, as `HostFilter` has it; undefined: it has
   * no opinion on this one.
   */
  concern?(request: SchedulingRequest): string | undefined
}
