import { MEM_ENCRYPTION_CONTEXT } from '../../objects/resources.ts'
import { free, poolsWithTrait } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

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
      const slots = pools.reduce((sum, { inventories }) => sum + free(inventories[MEM_ENCRYPTION_CONTEXT]), 0)
      return slots === 0 ? 0 : -slots
    },
  }
}
