import { MAX_HOSTS_BY_NAME, type Rejection, type SchedulingReport } from '../objects/scheduling-report.ts'
import type { WeighedHost } from './weigh-hosts.ts'

const MAX_REASON = 500

/** Why a host was chosen, or none, in bounded size: counts for all, names for the first. */
export function schedulingReport(rejections: readonly Rejection[], ranking: readonly WeighedHost[]): SchedulingReport {
  return {
    hosts_considered: rejections.length + ranking.length,
    rejected: countsByFilter(rejections),
    rejections: everyFilterInTurn(rejections)
      .slice(0, MAX_HOSTS_BY_NAME)
      .map(({ reason, ...rest }) => ({ ...rest, reason: reason.slice(0, MAX_REASON) })),
    ranking: ranking
      .slice(0, MAX_HOSTS_BY_NAME)
      .map(({ host, weight, weights }) => ({ host: host.host, weight, weights: { ...weights } })),
  }
}

/** The filter that rejected most comes first. */
function countsByFilter(rejections: readonly Rejection[]): SchedulingReport['rejected'] {
  const counts = new Map<string, number>()
  for (const { filter } of rejections) counts.set(filter, (counts.get(filter) ?? 0) + 1)
  return [...counts].map(([filter, hosts]) => ({ filter, hosts })).sort((a, b) => b.hosts - a.hosts)
}

/** One host of each filter, then a second of each, and so on: no reason hides behind a thousand of another. */
function everyFilterInTurn(rejections: readonly Rejection[]): readonly Rejection[] {
  const seen = new Map<string, number>()
  return rejections
    .map((rejection) => {
      const turn = seen.get(rejection.filter) ?? 0
      seen.set(rejection.filter, turn + 1)
      return { rejection, turn }
    })
    .sort((a, b) => a.turn - b.turn)
    .map(({ rejection }) => rejection)
}
