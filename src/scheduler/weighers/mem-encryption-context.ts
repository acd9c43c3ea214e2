import { MEM_ENCRYPTION_CONTEXT } from '../../objects/resources.ts'
import { free, type InventoryState, poolsWithTrait } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

/**
 * No more free slots than this count of one pool: all keys of an EPYC that shows 1006 of them (apache/cloudstack#10009).
 * A pool whose keys nobody can count has no limit on paper; taken as written it would make all other hosts look alike.
 */
const MOST_SLOTS = 1006

/**
 * Keeps encryption slots for those who need them: ordinary guests go where the fewest are free, best where there are
 * none; encrypted guests go where their model fits tightest, so that whole hosts stay free for bursts.
 *
 * Nova has nothing of the kind: there ordinary guests fill SEV hosts, whose slots then go to waste.
 */
export function memEncryptionContextWeigher(multiplier: number): HostWeigher {
  return {
    name: 'MemEncryptionContext',
    multiplier,
    weigh: (host, { resources: { pool } }) => {
      const pools = pool === undefined ? host.pools : poolsWithTrait(host, pool.trait)
      const slots = pools.reduce((sum, { inventories }) => sum + freeSlots(inventories[MEM_ENCRYPTION_CONTEXT]), 0)
      return slots === 0 ? 0 : -slots
    },
  }
}

function freeSlots(inventory: InventoryState | undefined): number {
  return Math.min(free(inventory), MOST_SLOTS)
}
