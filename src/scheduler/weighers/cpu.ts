import { VCPU } from '../../objects/resources.ts'
import { free } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

/** Prefers hosts with more free processors: spreads. */
export function cpuWeigher(multiplier: number): HostWeigher {
  return { name: 'CPU', multiplier, weigh: ({ root }) => free(root.inventories[VCPU]) }
}
