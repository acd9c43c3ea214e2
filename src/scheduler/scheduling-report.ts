import { MAX_HOSTS_BY_NAME, type Rejection, type SchedulingReport } from '../objects/scheduling-report.ts'
import type { WeighedHost } from './weigh-hosts.ts'

const MAX_REASON = 500

/** Why hosts were not chosen: all of them counted, some by name. */
export interface RejectionSummary {
  /** The filter that rejected most comes first. */
  readonly rejected: SchedulingReport['rejected']
  /** One host of each filter, then a second of each, and so on: no reason hides behind a thousand of another. */
  readonly named: readonly Rejection[]
}

/** Why a host was chosen, or none, in bounded size: counts for all, names for the first. */
export function schedulingReport(
  { rejected, named }: RejectionSummary,
  ranking: readonly WeighedHost[],
  passed = ranking.length,
): SchedulingReport {
  return {
    hosts_considered: rejected.reduce((sum, { hosts }) => sum + hosts, passed),
    rejected: [...rejected],
    rejections: named
      .slice(0, MAX_HOSTS_BY_NAME)
      .map(({ reason, ...rest }) => ({ ...rest, reason: reason.slice(0, MAX_REASON) })),
    ranking: ranking
      .slice(0, MAX_HOSTS_BY_NAME)
      .map(({ host, weight, weights }) => ({ host: host.host, weight, weights: { ...weights } })),
  }
}

/** Of a list with every rejected host: the specification of what `choosing/` does for many. */
export function summaryOf(rejections: readonly Rejection[]): RejectionSummary {
  const counts = new Map<string, number>()
  const turns = rejections.map((rejection) => {
    const turn = counts.get(rejection.filter) ?? 0
    counts.set(rejection.filter, turn + 1)
    return { rejection, turn }
  })
  return {
    rejected: [...counts].map(([filter, hosts]) => ({ filter, hosts })).sort((a, b) => b.hosts - a.hosts),
    named: turns.sort((a, b) => a.turn - b.turn).map(({ rejection }) => rejection),
  }
}
