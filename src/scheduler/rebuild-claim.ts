import type { Allocation } from '../objects/request-spec.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../objects/resources.ts'
import type { HostState, InventoryState, ProviderState } from './host-state.ts'

/**
 * What an instance has while it is rebuilt: of each the more of what it had and of what it is to have, but of slots the one
 * that it is to have. An earlier one of another pool is its migration's.
 */
export function moreOfBoth(had: readonly Allocation[], becomes: readonly Allocation[]): readonly Allocation[] {
  const both = new Map<string, Allocation>()
  const kept = had.filter(({ resource_class }) => resource_class !== MEM_ENCRYPTION_CONTEXT)
  for (const allocation of [...kept, ...becomes]) {
    const key = JSON.stringify([allocation.provider, allocation.resource_class])
    const before = both.get(key)
    const amount = Math.max(allocation.amount, before?.amount ?? 0)
    const isPinned = allocation.pinned === true || before?.pinned === true
    const { pinned: _, ...rest } = allocation
    both.set(key, { ...rest, amount, ...(isPinned && { pinned: true }) })
  }
  return [...both.values()]
}

/** The host as it would be without an instance that is there: what that has it may have again. */
export function withoutClaim(host: HostState, claim: readonly Allocation[]): HostState {
  const without = (provider: ProviderState): ProviderState => ({
    ...provider,
    inventories: Object.fromEntries(
      Object.entries(provider.inventories).map(([name, inventory]) => [
        name,
        less(
          inventory,
          claim.filter((each) => each.provider === provider.name && each.resource_class === name),
        ),
      ]),
    ),
  })
  return {
    ...host,
    instances: Math.max(0, host.instances - 1),
    root: without(host.root),
    pools: host.pools.map(without),
  }
}

function less(inventory: InventoryState, claimed: readonly Allocation[]): InventoryState {
  const sum = (of: readonly Allocation[]) => of.reduce((total, { amount }) => total + amount, 0)
  return {
    ...inventory,
    used: Math.max(0, inventory.used - sum(claimed)),
    pinned: Math.max(0, inventory.pinned - sum(claimed.filter(({ pinned }) => pinned))),
  }
}
