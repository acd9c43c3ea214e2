import type { HostState } from './host-state.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { nameHash, tieBreak } from './tie-break.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'
import { type Scale, scaled, scaleOver, weightOf } from './weight.ts'

export interface WeighedHost {
  readonly host: HostState
  /** Sum of the parts. */
  readonly weight: number
  /** Each weigher's part by its name. */
  readonly weights: Readonly<Record<string, number>>
}

/**
 * Best host first: the specification of what `choosing/` does for many hosts.
 *
 * Each weigher's values are scaled to 0..1 over the given hosts (min-max), then multiplied; equal values weigh nothing.
 * Source: the "Weights" section of Nova's scheduler guide, so operators' multipliers carry over. Hosts of equal weight
 * are ordered by the instance's uuid, so that a burst spreads over them.
 *
 * @param seed another one orders hosts of equal weight in another way
 */
export function weighHosts(
  hosts: readonly HostState[],
  request: SchedulingRequest,
  weighers: readonly HostWeigher[],
  seed = '',
): readonly WeighedHost[] {
  const opinions = weighers.map((weigher) => {
    const values = hosts.map((host) => weigher.weigh(host, request))
    return { name: weigher.name, values, scale: scaleOver(values, weigher.multiplier) }
  })
  const instance = nameHash(seed + request.spec.instance_uuid)
  const weighed = hosts.map((host, index) => {
    const parts = opinions.map(({ values, scale }) => partOf(values[index], scale))
    return {
      host,
      sum: parts.reduce((sum, part) => sum + part, 0),
      weights: Object.fromEntries(opinions.map(({ name }, n) => [name, weightOf(parts[n] ?? 0)])),
      tie: tieBreak(instance, nameHash(host.host)),
    }
  })
  return weighed
    .sort((a, b) => b.sum - a.sum || a.tie - b.tie)
    .map(({ host, sum, weights }) => ({ host, weight: weightOf(sum), weights }))
}

function partOf(value: number | undefined, scale: Scale | undefined): number {
  return scale === undefined || value === undefined ? 0 : scaled(value, scale)
}
