import type { Allocation } from '../../objects/request-spec.ts'
import type { HostState, InventoryState, ProviderState } from '../host-state.ts'

export interface Claim {
  readonly allocations: readonly Allocation[]
}

/** Inventories of one provider with what claims take, by class: each is copied once, however many claims there are. */
type Taken = Map<string, { -readonly [K in keyof InventoryState]: InventoryState[K] }>

/** The host as it is once these claims are made. */
export function withClaims(host: HostState, claims: Iterable<Claim>): HostState {
  const { root, pools } = host
  const takenOf = new Map<ProviderState, Taken>()
  let { instances } = host
  for (const { allocations } of claims) {
    instances++
    for (const allocation of allocations) {
      const { provider: name } = allocation
      const provider = name === root.name ? root : pools.find((pool) => pool.name === name)
      if (provider !== undefined) take(takenOf, provider, allocation)
    }
  }
  const after = (provider: ProviderState) => withTaken(provider, takenOf.get(provider))
  return { ...host, root: after(root), pools: pools.map(after), instances }
}

function take(
  takenOf: Map<ProviderState, Taken>,
  provider: ProviderState,
  { resource_class, amount, pinned }: Allocation,
): void {
  const inventory = provider.inventories[resource_class]
  if (inventory === undefined) return
  const taken: Taken = takenOf.get(provider) ?? new Map()
  const copy = taken.get(resource_class) ?? { ...inventory }
  copy.used += amount
  if (pinned) copy.pinned += amount
  taken.set(resource_class, copy)
  takenOf.set(provider, taken)
}

function withTaken(provider: ProviderState, taken: Taken | undefined): ProviderState {
  if (taken === undefined) return provider
  // Not spreads: those cost V8 much more where keys are names of data.
  return { ...provider, inventories: Object.assign({}, provider.inventories, Object.fromEntries(taken)) }
}

export function withInventory(
  provider: ProviderState,
  resourceClass: string,
  inventory: InventoryState,
): ProviderState {
  // Not a spread: that costs V8 much more where keys are names of data.
  return { ...provider, inventories: Object.assign({}, provider.inventories, { [resourceClass]: inventory }) }
}
