import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { choices } from './ask.ts'
import type { SimulatedInstance } from './instances.ts'
import { type Asked, suitableHosts, TRAIT_OF } from './suitable-hosts.ts'
import type { InventoryRow, Tables } from './tables.ts'
import { must } from './violation.ts'

/** Of those that are all or nothing some have a claim only when all have. */
export function checkBatches({ consumers }: Tables, instances: Iterable<SimulatedInstance>): void {
  const hosts = new Map(consumers.map(({ uuid, host }) => [uuid, host]))
  for (const { batch, name } of instances) {
    // Some may have been given back, or have gone on to another try.
    if (batch?.[0]?.name !== name || !batch.every(({ tries, gaveBackThrough }) => tries === 1 && gaveBackThrough === 0))
      continue
    const placed = batch.filter(({ uuid }) => (hosts.get(uuid) ?? null) !== null)
    must(placed.length === 0 || placed.length === batch.length, () => {
      return `of the batch of ${name} only ${placed.map((one) => one.name).join(', ')} have a claim`
    })
  }
}

/**
 * Would all of these, who ask for the same, find room at this moment? They are put down one by one, best model first: as
 * they take the same of each host, no other order brings more of them in. Of server groups that is not so.
 */
export function allFit(tables: Tables, members: readonly SimulatedInstance[], asked: Omit<Asked, 'instance'>): boolean {
  let now = tables
  for (const instance of members) {
    const next = withOneMore(now, instance, asked)
    if (next === undefined) return false
    now = next
  }
  return true
}

function withOneMore(tables: Tables, instance: SimulatedInstance, asked: Omit<Asked, 'instance'>): Tables | undefined {
  for (const choice of choices({ instance, attempt: 1 })) {
    const model = choice === 'clear' ? undefined : choice
    const [host] = suitableHosts(tables, model, { instance, ...asked })
    if (host !== undefined) return placedOn(tables, host, model, instance)
  }
  return undefined
}

function placedOn(
  tables: Tables,
  host: string,
  model: MemEncryptionModel | undefined,
  { wish }: SimulatedInstance,
): Tables {
  const pool = model && tables.providers.find((one) => one.host === host && one.traits.includes(TRAIT_OF[model]))?.name
  const taken = ({ provider, resource_class }: InventoryRow) => {
    if (provider === pool && resource_class === 'MEM_ENCRYPTION_CONTEXT') return 1
    return provider === host ? (wish.takes[resource_class] ?? 0) : 0
  }
  const inventories = tables.inventories.map((row) => {
    const amount = taken(row)
    const isPinned = wish.pins && row.resource_class === 'MEMORY_MB'
    return amount === 0 ? row : { ...row, used: row.used + amount, pinned: row.pinned + (isPinned ? amount : 0) }
  })
  return { ...tables, inventories }
}
