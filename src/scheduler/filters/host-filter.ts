import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'

/** One reason why a host may not do. Decides from these values alone: no clock, no chance, no question to anybody. */
export interface HostFilter {
  /** As shown in reports, e.g. `MemEncryptionSlots`. */
  readonly name: string
  /** What somebody could do so that the hosts it rejects would do; for the error, when no host is left. */
  readonly fix?: string
  /** Why this host cannot take the request, in words an operator can act on, with numbers; undefined if it can. */
  reject(host: HostState, request: SchedulingRequest): string | undefined
}
