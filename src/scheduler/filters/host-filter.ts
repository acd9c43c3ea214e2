import type { HostState } from '../host-state.ts'
import type { SchedulingRequest } from '../scheduling-request.ts'

/** One reason why a host may not do. Decides from these values alone: no clock, no chance, no question to anybody. */
export interface HostFilter {
  /** As shown in reports, e.g. `MemEncryptionSlots`. */
  readonly name: string
  /** What somebody could do so that the hosts it rejects would do; for the error, when no host is left. */
  readonly fix?: string
  /** It looks only whether one more may come: who is there already, and is rebuilt, is not held to it. */
  readonly isForComers?: true
  /** Why this host cannot take the request, in words an operator can act on, with numbers; undefined if it can. */
  reject(host: HostState, request: SchedulingRequest): string | undefined
  /**
   * For a filter that looks at what tells a request from others of its kind (`choosing/request-kind.ts`): a text that
   * is the same only where the answers for every host are, or undefined when there is nothing to say. A filter without
   * it sees none of that.
   */
  concern?(request: SchedulingRequest): string | undefined
}
