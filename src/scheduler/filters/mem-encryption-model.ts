import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import { poolsWithTrait } from '../host-state.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that have no slots of the model at all, with the host's own words what it lacks and how to get it. */
export const memEncryptionModel: HostFilter = {
  name: 'MemEncryptionModel',
  fix: 'do what the host says it lacks, or ask for a model that the hosts offer',
  reject: (host, { spec, resources: { pool } }) => {
    if (spec.mem_encryption === null || pool === undefined) return undefined
    const offered = poolsWithTrait(host, pool.trait).some(({ inventories }) =>
      Object.keys(pool.resources).some((resourceClass) => inventories[resourceClass]?.offered),
    )
    if (offered) return undefined
    const { label, model } = MEM_ENCRYPTION_MODELS[spec.mem_encryption.model]
    return host.missingModels[model] ?? `offers no ${label}`
  },
}
