import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../../objects/resources.ts'
import { fits, poolsFor } from '../host-state.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts whose slots of the model are all in use. */
export const memEncryptionSlots: HostFilter = {
  name: 'MemEncryptionSlots',
  fix: 'delete an encrypted instance of this model there, or add a host with free slots',
  reject: (host, { spec, resources }) => {
    const { pool } = resources
    if (spec.mem_encryption === null || pool === undefined) return undefined
    const pools = poolsFor(host, resources)
    if (pools.length === 0 || pools.some((provider) => fits(provider, pool.resources))) return undefined
    const slots = pools.flatMap(({ inventories }) => inventories[MEM_ENCRYPTION_CONTEXT] ?? [])
    const sum = (of: (slot: (typeof slots)[number]) => number) => slots.reduce((total, slot) => total + of(slot), 0)
    const { label } = MEM_ENCRYPTION_MODELS[spec.mem_encryption.model]
    return `${sum(({ used }) => used)} of ${sum(({ total }) => total)} ${label} slots used, ${sum(({ reserved }) => reserved)} reserved`
  },
}
