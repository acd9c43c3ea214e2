import type { HostState, InventoryState, ProviderState } from '../host-state.ts'
import type { InventoryUse } from '../placement/claim.ts'
import type { HostUse } from '../placement/feed.ts'
import { withInventory } from './claimed-state.ts'

/** The host with what was told of its inventories, where that is news. */
export function withUse(host: HostState, uses: readonly InventoryUse[]): HostState {
  return withUses(host, uses, (known, { version }) => known.version < version)
}

/**
 * The host with its use as it was read. What is known may be a guess, which has the version of what it was made from: so
 * whatever differs is taken.
 */
export function usedAsRead(host: HostState, { inventories, instances }: HostUse): HostState {
  const used = withUses(
    host,
    inventories,
    (known, read) => known.version !== read.version || known.used !== read.used || known.pinned !== read.pinned,
  )
  return used.instances === instances ? used : { ...used, instances }
}

type IsTaken = (known: InventoryState, use: InventoryUse) => boolean

function withUses(host: HostState, uses: readonly InventoryUse[], isTaken: IsTaken): HostState {
  let { root, pools } = host
  for (const use of uses) {
    if (use.provider === root.name) root = takeUse(root, use, isTaken)
    else pools = pools.map((pool) => (pool.name === use.provider ? takeUse(pool, use, isTaken) : pool))
  }
  return root === host.root && pools.every((pool, n) => pool === host.pools[n]) ? host : { ...host, root, pools }
}

function takeUse(provider: ProviderState, use: InventoryUse, isTaken: IsTaken): ProviderState {
  const { resource_class, used, pinned, version } = use
  const known: InventoryState | undefined = provider.inventories[resource_class]
  if (known === undefined || !isTaken(known, use)) return provider
  return withInventory(provider, resource_class, { ...known, used, pinned, version })
}
