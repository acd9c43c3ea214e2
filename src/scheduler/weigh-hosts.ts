import type { HostState } from './host-state.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { tieBreak } from './tie-break.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'

export interface WeighedHost {
  readonly host: HostState
  /** Sum of the parts. */
  readonly weight: number
  /** Each weigher's part by its name. */
  readonly weights: Readonly<Record<string, number>>
}

/** Weights are compared to so many decimals: what is nearer than that is equal, rounding errors are. */
const DECIMALS = 6

/**
 * Best host first.
 *
 * Each weigher's values are scaled to 0..1 over the given hosts (min-max), then multiplied; equal values weigh nothing.
 * Source: the "Weights" section of Nova's scheduler guide, so operators' multipliers carry over. Hosts of equal weight
 * are ordered by the instance's uuid, so that a burst spreads over them.
 */
export function weighHosts(
  hosts: readonly HostState[],
  request: SchedulingRequest,
  weighers: readonly HostWeigher[],
): readonly WeighedHost[] {
  const parts = weighers.map((weigher) => ({ name: weigher.name, values: weightsBy(weigher, hosts, request) }))
  const weighed = hosts.map((host, index) => {
    const weights = Object.fromEntries(parts.map(({ name, values }) => [name, rounded(values[index] ?? 0)]))
    const weight = rounded(Object.values(weights).reduce((sum, part) => sum + part, 0))
    return { host, weight, weights, tie: tieBreak(request.spec.instance_uuid, host.host) }
  })
  return weighed.sort((a, b) => b.weight - a.weight || a.tie - b.tie).map(({ tie: _, ...rest }) => rest)
}

function weightsBy(weigher: HostWeigher, hosts: readonly HostState[], request: SchedulingRequest): readonly number[] {
  const values = hosts.map((host) => weigher.weigh(host, request))
  const { multiplier } = weigher
  const known = values.filter(Number.isFinite)
  const lowest = known.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
  const range = known.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY) - lowest
  // Every host equal: this weigher has no opinion.
  if (!(range > 0)) return hosts.map(() => 0)
  // A weigher that cannot tell (NaN) puts the host last.
  return values.map((value) =>
    Number.isFinite(value) ? ((value - lowest) / range) * multiplier : Math.min(0, multiplier),
  )
}

function rounded(weight: number): number {
  // Adding 0 turns -0 into 0, which JSON and people tell apart.
  return Number(weight.toFixed(DECIMALS)) + 0
}
