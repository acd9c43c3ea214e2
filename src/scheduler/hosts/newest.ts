import type { HostState, InventoryState, ProviderState } from '../host-state.ts'
import type { InventoryUse } from '../placement/claim.ts'
import { withInventory } from './claimed-state.ts'

/**
 * A host as it was read, except for inventories that are known to be newer: a claim may have ended after the reading,
 * and have told sooner.
 */
export function newest(read: HostState, known: HostState): HostState {
  const providers = new Map([known.root, ...known.pools].map((provider) => [provider.name, provider]))
  const root = newestProvider(read.root, providers)
  const pools = read.pools.map((pool) => newestProvider(pool, providers))
  const isRead = root === read.root && pools.every((pool, n) => pool === read.pools[n])
  return isRead ? read : { ...read, root, pools, instances: known.instances }
}

function newestProvider(read: ProviderState, known: ReadonlyMap<string, ProviderState>): ProviderState {
  const inventories = known.get(read.name)?.inventories ?? {}
  return Object.entries(read.inventories).reduce<ProviderState>((provider, [resourceClass, inventory]) => {
    const other = inventories[resourceClass]
    return other !== undefined && other.version > inventory.version
      ? withInventory(provider, resourceClass, other)
      : provider
  }, read)
}

/** The host with what was told of its inventories, where that is news. */
export function withUse(host: HostState, uses: readonly InventoryUse[]): HostState {
  let { root, pools } = host
  for (const use of uses) {
    if (use.provider === root.name) root = withNewUse(root, use)
    else pools = pools.map((pool) => (pool.name === use.provider ? withNewUse(pool, use) : pool))
  }
  return root === host.root && pools.every((pool, n) => pool === host.pools[n]) ? host : { ...host, root, pools }
}

function withNewUse(provider: ProviderState, { resource_class, used, pinned, version }: InventoryUse): ProviderState {
  const known: InventoryState | undefined = provider.inventories[resource_class]
  if (known === undefined || known.version >= version) return provider
  return withInventory(provider, resource_class, { ...known, used, pinned, version })
}
