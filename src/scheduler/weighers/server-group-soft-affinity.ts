import type { ServerGroupPolicy } from '../../objects/server-group.ts'
import { groupConcern } from '../group-concern.ts'
import type { HostWeigher } from './host-weigher.ts'

/** Prefers hosts with more members of the request's group, when its policy is soft-affinity. */
export function softAffinityWeigher(multiplier: number): HostWeigher {
  return groupWeigher('ServerGroupSoftAffinity', 'soft-affinity', multiplier)
}

/** Prefers hosts with fewer members of the request's group, when its policy is soft-anti-affinity. */
export function softAntiAffinityWeigher(multiplier: number): HostWeigher {
  return groupWeigher('ServerGroupSoftAntiAffinity', 'soft-anti-affinity', -multiplier)
}

function groupWeigher(name: string, policy: ServerGroupPolicy, multiplier: number): HostWeigher {
  return {
    name,
    multiplier,
    weigh: ({ host }, { hinted }) => (hinted?.group?.policy === policy ? (hinted.group.members.get(host) ?? 0) : 0),
    concern: (request) => groupConcern(request, policy),
  }
}
