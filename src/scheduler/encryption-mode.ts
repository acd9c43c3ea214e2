import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../objects/mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../objects/resources.ts'
import { type HostState, modelOf } from './host-state.ts'

type Pools = Pick<HostState, 'pools'>

/**
 * Why the host gives no slot of a model although it may have some: the one that excludes it has slots in use there,
 * claims on their way and sources of moves among them. The rule is the database's: placement/encryption-mode-schema.ts.
 */
export function closedBy({ pools }: Pools, model: MemEncryptionModel): string | undefined {
  const { label, excludes } = MEM_ENCRYPTION_MODELS[model]
  if (excludes === undefined) return undefined
  const other = MEM_ENCRYPTION_MODELS[excludes]
  let used = 0
  for (const { traits, inventories } of pools) {
    if (traits.includes(other.trait)) used += inventories[MEM_ENCRYPTION_CONTEXT]?.used ?? 0
  }
  return used === 0 ? undefined : closedWords(label, other.label, used)
}

/** Models that the host offers, and that wait until no slot of another is in use. */
export function closedModels(host: Pools): Readonly<Partial<Record<MemEncryptionModel, string>>> {
  const closed: Partial<Record<MemEncryptionModel, string>> = {}
  for (const pool of host.pools) {
    const model = modelOf(pool)
    const reason = model && pool.inventories[MEM_ENCRYPTION_CONTEXT]?.offered ? closedBy(host, model) : undefined
    if (model !== undefined && reason !== undefined) closed[model] = reason
  }
  return closed
}

function closedWords(label: string, otherLabel: string, used: number): string {
  const slots = used === 1 ? 'slot is' : 'slots are'
  return `${label} is off while ${used} ${otherLabel} ${slots} in use: a host runs one of the two`
}
