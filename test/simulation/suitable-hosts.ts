import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { hasRoom } from './capacity.ts'
import type { SimulatedInstance } from './instances.ts'
import type { HostRow, Tables } from './tables.ts'
import type { Group, Wish } from './wishes.ts'

/** Which trait a pool has by whose slots it holds. */
export const TRAIT_OF: Readonly<Record<MemEncryptionModel, string>> = {
  'amd-sev': 'HW_CPU_X86_AMD_SEV',
  'amd-sev-es': 'HW_CPU_X86_AMD_SEV_ES',
  'amd-sev-snp': 'HW_CPU_X86_AMD_SEV_SNP',
}

/** Of these a host runs guests of one at a time. */
const EXCLUDED_BY: Partial<Record<MemEncryptionModel, MemEncryptionModel>> = {
  'amd-sev-es': 'amd-sev-snp',
  'amd-sev-snp': 'amd-sev-es',
}

/** Slots of a model that are in use on a host, offered or not. */
export function slotsInUse({ providers, inventories }: Tables, host: string, model: MemEncryptionModel): number {
  const pools = providers.filter((pool) => pool.host === host && pool.traits.includes(TRAIT_OF[model]))
  const rows = inventories.filter(({ provider }) => pools.some(({ name }) => name === provider))
  return rows.reduce((sum, { used }) => sum + used, 0)
}

export interface Asked {
  readonly instance: SimulatedInstance
  readonly instances: ReadonlyMap<string, SimulatedInstance>
  readonly ignored: readonly string[]
  /** Hosts of which nobody can doubt that they live. */
  readonly alive: ReadonlySet<string>
}

/** Hosts that would do for a wish, by the tables as they are at this moment. */
export function suitableHosts(
  tables: Tables,
  model: MemEncryptionModel | undefined,
  { instance, instances, ignored, alive }: Asked,
): readonly string[] {
  const { wish } = instance
  const others = othersOfGroup(tables, instance, instances)
  const isOffered = ({ host, disabled, forced_down, down_since, zone }: HostRow) =>
    !(disabled || forced_down) &&
    down_since === null &&
    alive.has(host) &&
    !ignored.includes(host) &&
    (wish.zone === null || wish.zone === zone)
  const suits = (host: string) => suitsGroup(wish.group?.policy, others, host) && hasAll(tables, host, model, wish)
  return tables.hosts.filter((row) => isOffered(row) && suits(row.host)).map(({ host }) => host)
}

/** Where they are, one entry for each. */
function othersOfGroup(
  { consumers }: Tables,
  { uuid, wish }: SimulatedInstance,
  instances: ReadonlyMap<string, SimulatedInstance>,
): readonly string[] {
  if (wish.group === null) return []
  const isOther = (one: string) => one !== uuid && instances.get(one)?.wish.group?.uuid === wish.group?.uuid
  return consumers.flatMap((one) => (isOther(one.uuid) && one.host !== null ? [one.host] : []))
}

function suitsGroup(policy: Group['policy'] | undefined, others: readonly string[], host: string): boolean {
  if (policy === 'affinity') return others.every((other) => other === host)
  return policy === undefined || !others.includes(host)
}

function hasAll(tables: Tables, host: string, model: MemEncryptionModel | undefined, wish: Wish): boolean {
  const of = (provider: string, resourceClass: string) =>
    tables.inventories.find((row) => row.provider === provider && row.resource_class === resourceClass)
  const fits = Object.entries(wish.takes).every(([resourceClass, amount]) =>
    hasRoom(of(host, resourceClass), amount, wish.pins && resourceClass === 'MEMORY_MB'),
  )
  if (!fits || model === undefined) return fits
  const other = EXCLUDED_BY[model]
  if (other !== undefined && slotsInUse(tables, host, other) > 0) return false
  const pools = tables.providers.filter((pool) => pool.host === host && pool.traits.includes(TRAIT_OF[model]))
  return pools.some(({ name }) => hasRoom(of(name, 'MEM_ENCRYPTION_CONTEXT'), 1, false))
}
