import type { Allocation } from '../../objects/request-spec.ts'
import type { HostState, InventoryState, ProviderState } from '../host-state.ts'

export interface Claim {
  readonly allocations: readonly Allocation[]
}

/** The host as it is once these claims are made. */
export function withClaims(host: HostState, claims: Iterable<Claim>): HostState {
  let { root, pools, instances } = host
  for (const { allocations } of claims) {
    instances++
    for (const allocation of allocations) {
      if (allocation.provider === root.name) root = withAllocation(root, allocation)
      else pools = pools.map((pool) => (pool.name === allocation.provider ? withAllocation(pool, allocation) : pool))
    }
  }
  return { ...host, root, pools, instances }
}

function withAllocation(provider: ProviderState, { resource_class, amount, pinned }: Allocation): ProviderState {
  const inventory = provider.inventories[resource_class]
  if (inventory === undefined) return provider
  const used = inventory.used + amount
  const taken = { ...inventory, used, pinned: inventory.pinned + (pinned ? amount : 0) }
  return withInventory(provider, resource_class, taken)
}

export function withInventory(
  provider: ProviderState,
  resourceClass: string,
  inventory: InventoryState,
): ProviderState {
  // Not a spread: that costs V8 much more where keys are names of data.
  return { ...provider, inventories: Object.assign({}, provider.inventories, { [resourceClass]: inventory }) }
}
