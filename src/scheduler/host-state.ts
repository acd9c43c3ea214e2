import type { Aggregate } from '../objects/aggregate.ts'
import type { HypervisorSilence, UefiGuests } from '../objects/host-report.ts'
import type { Inventory } from '../objects/inventory.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../objects/mem-encryption.ts'
import type { Allocation } from '../objects/request-spec.ts'
import type { TraitRequest } from '../objects/requested-traits.ts'
import type { ResourceRequest } from '../objects/resource-request.ts'
import { MEMORY_MB } from '../objects/resources.ts'

/** One resource class of a provider, with what instances have of it. */
export interface InventoryState extends Inventory {
  /** What may be allocated in all. */
  readonly capacity: number
  /** More than the capacity when the host shrank under its instances. */
  readonly used: number
  /** Part of `used` that cannot be swapped out, and so is never overcommitted. */
  readonly pinned: number
  /** False: the host offers it no more, and it takes no new claims. */
  readonly offered: boolean
  /** Grows by each change of these numbers: of two that are known, the higher is newer. */
  readonly version: number
}

export interface ProviderState {
  readonly name: string
  readonly traits: readonly string[]
  readonly inventories: Readonly<Record<string, InventoryState>>
}

/** An aggregate that a host is in. */
export type HostAggregate = Readonly<Pick<Aggregate, 'name' | 'metadata'>>

/** What the scheduler knows of a host when it chooses. It may be stale: the claim decides. */
export interface HostState {
  readonly host: string
  /** Never while an operator forces it down. */
  readonly up: boolean
  readonly forcedDown: boolean
  /** By an operator's word it is powered off; then it is forced down, too. */
  readonly fenced: boolean
  /** For words only, as the next field: what is remembered of a host is not forgotten as time passes. */
  readonly secondsSinceSeen: number
  readonly lastSeenUp: Date
  readonly reportIntervalSeconds: number
  readonly disabled: boolean
  readonly disabledReason: string | undefined
  /** Builds that failed here in a row. */
  readonly failedBuilds: number
  /** Sorted by name. */
  readonly aggregates: readonly HostAggregate[]
  readonly availabilityZone: string
  readonly hypervisorType: string
  /** Undefined: its hypervisor answers. */
  readonly hypervisorSilence: HypervisorSilence | undefined
  /** Of the processor; undefined: the host does not tell. */
  readonly architecture: string | undefined
  readonly defaultMachineType: string
  /** All that guests may ask for; empty: the host does not tell. */
  readonly machineTypes: readonly string[]
  readonly supportsUefi: boolean
  /** Undefined: the host does not tell. */
  readonly uefiGuests: UefiGuests | undefined
  /** That q35 guests can have disks on; empty: the host does not tell. */
  readonly diskBuses: readonly string[]
  /** Models that the host cannot offer, and why. */
  readonly missingModels: Readonly<Record<string, string>>
  /** Builds under way by its last report; undefined: the host does not tell. */
  readonly ioOps: number | undefined
  /** Instances with a claim here. */
  readonly instances: number
  /** The host itself: VCPU, MEMORY_MB, DISK_GB. */
  readonly root: ProviderState
  /** Its pools of encryption slots. */
  readonly pools: readonly ProviderState[]
}

/** What can still be claimed, at least 0, by whoever does not pin it. */
export function free(inventory: InventoryState | undefined): number {
  if (inventory === undefined || !inventory.offered) return 0
  return Math.max(0, Math.min(inventory.capacity, capacityBesidePinned(inventory, 0)) - inventory.used)
}

/** Does so much more fit beside what is pinned? The rule is the database's: placement/pinned-memory-schema.ts. */
export function fitsBesidePinned(inventory: InventoryState, amount: number, isPinned: boolean): boolean {
  return inventory.used + amount <= capacityBesidePinned(inventory, isPinned ? amount : 0)
}

/** What is pinned counts once; only the rest is lent out more than once. */
function capacityBesidePinned({ pinned, total, reserved, allocation_ratio }: InventoryState, more: number): number {
  return pinned + more + Math.floor((total - reserved - pinned - more) * Math.max(allocation_ratio, 1))
}

export function poolsWithTrait(host: HostState, trait: string): readonly ProviderState[] {
  return host.pools.filter(({ traits }) => traits.includes(trait))
}

/** Pools that may give the slot: those of the model, with the traits that are asked for. */
export function poolsFor(host: HostState, { pool, traits }: ResourceRequest): readonly ProviderState[] {
  if (pool === undefined) return []
  const pools = poolsWithTrait(host, pool.trait)
  return traits === undefined ? pools : pools.filter(({ traits: ofPool }) => !refusalOf(traits, host, ofPool))
}

/** Which traits the host itself and a pool, taken together, lack or have too many; undefined when they suit. */
export function refusalOf(
  { required, forbidden }: TraitRequest,
  { root }: Pick<HostState, 'root'>,
  ofPool: readonly string[] = [],
): { readonly missing: readonly string[]; readonly unwanted: readonly string[] } | undefined {
  const has = (trait: string) => root.traits.includes(trait) || ofPool.includes(trait)
  const missing = required.filter((trait) => !has(trait))
  const unwanted = forbidden.filter(has)
  return missing.length + unwanted.length > 0 ? { missing, unwanted } : undefined
}

/** Whose slots a pool has; undefined for a provider that has none. */
export function modelOf({ traits }: ProviderState): MemEncryptionModel | undefined {
  return Object.values(MEM_ENCRYPTION_MODELS).find(({ trait }) => traits.includes(trait))?.model
}

/** Why one inventory cannot give the amount, in words; undefined if it can. */
export function lacks(
  resourceClass: string,
  amount: number,
  inventory: InventoryState | undefined,
): string | undefined {
  if (inventory === undefined) return `${resourceClass}: ${amount} asked, the host reports none`
  const { capacity, used, total, reserved, allocation_ratio, min_unit, max_unit, step_size } = inventory
  if (!inventory.offered) return `${resourceClass}: ${amount} asked, the host offers none any more`
  const one = `${resourceClass}: ${amount} asked, one instance gets`
  if (amount > max_unit) return `${one} at most ${max_unit} here (max_unit)`
  if (amount < min_unit) return `${one} at least ${min_unit} here (min_unit)`
  if (amount % step_size !== 0) return `${one} multiples of ${step_size} here (step_size)`
  if (amount <= free(inventory)) return undefined
  return `${resourceClass}: ${amount} asked, ${used} of ${capacity} used (${total} in all, ${reserved} reserved, ratio ${allocation_ratio})`
}

/** Has this provider all of these resources free? */
export function fits(provider: ProviderState, resources: Readonly<Record<string, number>>): boolean {
  return Object.entries(resources).every(([name, amount]) => !lacks(name, amount, provider.inventories[name]))
}

/** What to claim on this host; undefined when no pool of it has the slot. */
export function allocationsOn(host: HostState, request: ResourceRequest): readonly Allocation[] | undefined {
  const { root, pool, pinsMemory } = request
  const ofRoot = allocations(host.root, root).map((allocation) =>
    pinsMemory && allocation.resource_class === MEMORY_MB ? { ...allocation, pinned: true } : allocation,
  )
  if (pool === undefined) return ofRoot
  const provider = poolsFor(host, request).find((candidate) => fits(candidate, pool.resources))
  return provider && [...ofRoot, ...allocations(provider, pool.resources)]
}

function allocations({ name }: ProviderState, resources: Readonly<Record<string, number>>): readonly Allocation[] {
  return Object.entries(resources).map(([resource_class, amount]) => ({ provider: name, resource_class, amount }))
}
