import type { Rejection } from '../objects/scheduling-report.ts'
import type { HostFilter } from './filters/host-filter.ts'
import type { HostState } from './host-state.ts'
import type { SchedulingRequest } from './scheduling-request.ts'

export interface FilterOutcome {
  readonly passed: readonly HostState[]
  /** Each host that did not pass, with the first reason. */
  readonly rejections: readonly Rejection[]
}

export function filterHosts(
  hosts: readonly HostState[],
  request: SchedulingRequest,
  filters: readonly HostFilter[],
): FilterOutcome {
  const passed: HostState[] = []
  const rejections: Rejection[] = []
  for (const host of hosts) {
    const rejection = firstRejection(host, request, filters)
    if (rejection) rejections.push(rejection)
    else passed.push(host)
  }
  return { passed, rejections }
}

function firstRejection(host: HostState, request: SchedulingRequest, filters: readonly HostFilter[]) {
  for (const filter of filters) {
    const reason = filter.reject(host, request)
    if (reason !== undefined) return { host: host.host, filter: filter.name, reason }
  }
  return undefined
}
