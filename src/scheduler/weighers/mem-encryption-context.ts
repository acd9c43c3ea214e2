import { MEM_ENCRYPTION_CONTEXT } from '../../objects/resources.ts'
import { free, type HostState, type InventoryState, type ProviderState, poolsWithTrait } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

/**
 * No more free slots than this count of one pool: all keys of an EPYC that shows 1006 of them (apache/cloudstack#10009).
 * A pool whose keys nobody can count has no limit on paper; taken as written it would make all other hosts look alike.
 */
const MOST_SLOTS = 1006

/**
 * Keeps encryption slots for those who need them: ordinary guests go where none are free, else where the fewest are;
 * encrypted guests go where their model fits tightest, so that whole hosts stay free for bursts.
 *
 * Nova has nothing of the kind: there ordinary guests fill SEV hosts, whose slots then go to waste.
 */
export function memEncryptionContextWeigher(multiplier: number): HostWeigher {
  return {
    name: 'MemEncryptionContext',
    multiplier,
    weigh: (host, { resources: { pool } }) =>
      pool === undefined ? forOrdinary(host) : negative(slotsOf(poolsWithTrait(host, pool.trait))),
  }
}

/**
 * From no free slot to one is a larger step than from one to many: else a host with four would look nearly as good as
 * one without, beside another with many.
 */
function forOrdinary({ pools }: HostState): number {
  const slots = slotsOf(pools)
  return slots === 0 ? 0 : -(MOST_SLOTS + slots)
}

function slotsOf(pools: readonly ProviderState[]): number {
  return pools.reduce((sum, { inventories }) => sum + freeSlots(inventories[MEM_ENCRYPTION_CONTEXT]), 0)
}

function freeSlots(inventory: InventoryState | undefined): number {
  return Math.min(free(inventory), MOST_SLOTS)
}

/** Not -0, which tests and people tell from 0. */
function negative(slots: number): number {
  return slots === 0 ? 0 : -slots
}
