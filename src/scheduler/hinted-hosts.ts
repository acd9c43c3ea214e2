import type { ServerGroupPolicy } from '../objects/server-group.ts'

/** A server group as a scheduler sees it when it chooses. It may be stale: the claim decides. */
export interface GroupState {
  readonly uuid: string
  readonly name: string
  readonly policy: ServerGroupPolicy
  /** Of anti-affinity: how many members one host may have. */
  readonly maxServerPerHost: number
  /** How many members each host has, without the instance that a host is sought for. */
  readonly members: ReadonlyMap<string, number>
}

/** Looked up before hosts are filtered, so that filters decide from values alone. */
export interface HintedHosts {
  readonly group: GroupState | undefined
  /** Hosts of the instances that `same_host` and `different_host` name, by uuid; one that is on no host is not there. */
  readonly hostOf: ReadonlyMap<string, string>
}
