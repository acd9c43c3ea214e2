import type { Queryable } from '../../database/database.ts'
import { InvalidInventory } from '../../errors.ts'
import type { HostReport } from '../../objects/host-report.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'

/** A pool that the host offers, and that gives no slot while the pool of the model that excludes its own has some in use. */
export interface ClosedPool {
  readonly provider: string
  readonly model: string
  readonly other_provider: string
  readonly other_model: string
  readonly other_used: number
}

/** The rule is `encryption-mode-schema.ts`'s. */
export function closedPools(tx: Queryable, host: string): Promise<readonly ClosedPool[]> {
  return tx.query<ClosedPool>(
    `select m.pool as provider, m.model, m.other_pool as other_provider, m.other_model, m.other_used
       from other_modes(array(select p.name from resource_providers p where p.host = $1)) m
       join inventories i on i.provider = m.pool and i.resource_class = 'MEM_ENCRYPTION_CONTEXT' and i.offered
      where m.other_used > 0`,
    [host],
  )
}

/**
 * Whose slots are in use is whose they are: a report cannot make them another model's.
 *
 * @throws InvalidInventory
 */
export async function refuseOtherModels(tx: Queryable, { host, providers }: HostReport): Promise<void> {
  const labels = Object.values(MEM_ENCRYPTION_MODELS).map(({ trait, label }) => ({ trait, label }))
  const [lost] = await tx.query<{ provider: string; trait: string; label: string; used: number }>(
    `select t.provider, t.trait, m.label, i.used
       from jsonb_to_recordset($1::jsonb) as r (name text, traits jsonb)
       join provider_traits t on t.provider = r.name and not r.traits ? t.trait
       join jsonb_to_recordset($2::jsonb) as m (trait text, label text) on m.trait = t.trait
       join inventories i on i.provider = r.name and i.resource_class = 'MEM_ENCRYPTION_CONTEXT' and i.used > 0
      order by t.provider collate "C" limit 1`,
    [JSON.stringify(providers), JSON.stringify(labels)],
  )
  if (lost === undefined) return
  const { provider, trait, label, used } = lost
  const slots = used === 1 ? `1 ${label} slot` : `${used} ${label} slots`
  const fix = 'give the pool of each model a name of its own, or delete these instances first'
  throw new InvalidInventory(
    `the report of ${host} was not taken: ${provider} has ${slots} in use, and is without ${trait} now; ${fix}`,
    { host, provider, trait, used, fix },
  )
}
