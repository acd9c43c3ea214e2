import { NoValidHost } from '../errors.ts'
import type { Rejection } from '../objects/scheduling-report.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { type RejectionSummary, schedulingReport } from './scheduling-report.ts'
import type { SchedulingRequest } from './scheduling-request.ts'

/** Name under which hosts are counted that passed every filter and were lost to another claim. */
export const LOST_CLAIM = 'Claim'

/** The error when no host is left: who said no, how often, and what would help first. */
export function noValidHost(
  { spec }: SchedulingRequest,
  rejections: RejectionSummary,
  filters: readonly HostFilter[],
): NoValidHost {
  const report = schedulingReport(rejections, [])
  const counts = report.rejected.map(
    ({ filter, hosts }, index) => `${filter}${index === 0 ? ' rejected' : ''} ${hosts}`,
  )
  const hosts = report.hosts_considered === 1 ? '1 host' : `${report.hosts_considered} hosts`
  const summary = counts.length > 0 ? `; ${counts.join(', ')}` : ''
  return new NoValidHost(`no valid host for instance ${spec.instance_uuid}: ${hosts} considered${summary}`, {
    instance_uuid: spec.instance_uuid,
    attempt: spec.attempt,
    report,
    fix: nearestFix(rejections.named, filters),
  })
}

/** Helps a host that came furthest through the filters: it lacks least. */
function nearestFix(rejections: readonly Rejection[], filters: readonly HostFilter[]): string {
  const order = filters.map(({ name }) => name)
  const nearest = rejections.reduce<Rejection | undefined>(
    (best, next) => (best === undefined || distance(order, next) < distance(order, best) ? next : best),
    undefined,
  )
  if (nearest === undefined) return 'start a compute worker: no host has reported yet'
  const { host, filter, reason } = nearest
  if (filter === LOST_CLAIM) return 'try again: other claims were faster'
  const fix = filters.find(({ name }) => name === filter)?.fix ?? `change what ${filter} looks at`
  return `${fix}; ${host} is nearest: ${reason.slice(0, 500)}`
}

/** 0 for a host that passed all filters. */
function distance(order: readonly string[], { filter }: Rejection): number {
  const position = order.indexOf(filter)
  return position === -1 ? 0 : order.length - position
}
