import type { HostState, InventoryState, ProviderState } from '../host-state.ts'
import type { InventoryUse } from '../placement/claim.ts'
import type { HostUse } from '../placement/feed.ts'
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
