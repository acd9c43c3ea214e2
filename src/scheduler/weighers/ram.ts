import { MEMORY_MB } from '../../objects/resources.ts'
import { free } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

/** Prefers hosts with more free memory: spreads. */
export function ramWeigher(multiplier: number): HostWeigher {
  return { name: 'RAM', multiplier, weigh: ({ root }) => free(root.inventories[MEMORY_MB]) }
}
