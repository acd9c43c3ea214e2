import type { Queryable } from '../../database/database.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import type { Migration } from '../../objects/request-spec.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../../objects/resources.ts'
import { type PageAfter, pages } from '../../rpc/page.ts'
import type { HeldClaim, InventoryLook } from './observation.ts'

/** Consumers read at a time. */
const PAGE = 5000

/** Every host that placement has, by name. */
export async function knownHosts(database: Queryable): Promise<readonly string[]> {
  const rows = await database.query<{ host: string }>('select host from compute_hosts order by host collate "C"')
  return rows.map(({ host }) => host)
}

/**
 * What consumers hold on hosts, by the allocations themselves: a consumer's own word for its host counts only where it has
 * none.
 *
 * @param hosts of consumers that have something on one of these, all they have; undefined: of all consumers
 */
export async function heldClaims(database: Queryable, hosts?: readonly string[]): Promise<readonly HeldClaim[]> {
  const only = hosts === undefined ? null : [...hosts]
  const claims: HeldClaim[] = []
  const ask = ({ marker = NO_UUID }: PageAfter) =>
    database.query<ClaimRow>(
      `with page as (
         select c.uuid, coalesce(c.instance, c.uuid) as instance, c.migration_type, c.attempt, c.host, c.changed_at
           from consumers c
          where c.uuid > $1
            and case when $3::text[] is null
                  then c.host is not null or exists (select from allocations a where a.consumer = c.uuid)
                  else c.host = any($3)
                    or exists (select from allocations a join resource_providers p on p.name = a.provider
                                where a.consumer = c.uuid and p.host = any($3)) end
          order by c.uuid limit $2
       ), held as (
         select a.consumer, p.host, a.resource_class, sum(a.amount)::integer as amount
           from allocations a join resource_providers p on p.name = a.provider
          where a.consumer in (select uuid from page)
          group by 1, 2, 3
       )
       select page.uuid, page.instance, page.migration_type, page.attempt, coalesce(held.host, page.host) as host, page.changed_at,
              coalesce(json_object_agg(held.resource_class, held.amount)
                         filter (where held.resource_class is not null), '{}') as resources
         from page left join held on held.consumer = page.uuid
        group by page.uuid, page.instance, page.migration_type, page.attempt, page.host, held.host, page.changed_at
        order by page.uuid`,
      [marker, PAGE, only],
    )
  for await (const rows of pages(ask, ({ uuid }) => uuid)) {
    for (const { uuid, instance, migration_type: migrationType, attempt, host, changed_at, resources } of rows) {
      if (host === null) continue
      const changedAt = changed_at.toISOString()
      claims.push({ consumer: uuid, instance, migrationType, attempt, host, resources, changedAt })
    }
  }
  return [...claims, ...(await orphans(database, only))]
}

/** What is allocated to consumers that are not there, which only somebody can bring about who switches triggers off. */
async function orphans(database: Queryable, only: readonly string[] | null): Promise<readonly HeldClaim[]> {
  const rows = await database.query<Pick<ClaimRow, 'uuid' | 'resources'> & { host: string }>(
    `select uuid, host, json_object_agg(resource_class, amount) as resources
       from (select a.consumer as uuid, p.host, a.resource_class, sum(a.amount)::integer as amount
               from allocations a join resource_providers p on p.name = a.provider
              where not exists (select from consumers c where c.uuid = a.consumer)
                and ($1::text[] is null or p.host = any($1))
              group by 1, 2, 3) as held
      group by uuid, host order by uuid, host`,
    [only],
  )
  const unknown = { migrationType: null, attempt: 0, changedAt: '' }
  return rows.map(({ uuid, host, resources }) => ({ consumer: uuid, instance: uuid, host, resources, ...unknown }))
}

/**
 * A consumer that says it is on no host has nothing to give back, whatever is allocated to it: it is told first what it
 * holds. One that is on a host is left as it is.
 */
export async function nameHost(database: Queryable, consumer: string, host: string): Promise<void> {
  await database.query(
    `insert into consumers as c (uuid, attempt, host) values ($1, 0, $2)
     on conflict (uuid) do update set host = excluded.host where c.host is null`,
    [consumer, host],
  )
}

/** Inventories that look wrong by themselves, and all that count slots. */
export async function inventories(database: Queryable, hosts?: readonly string[]): Promise<readonly InventoryLook[]> {
  const rows = await database.query<InventoryRow>(
    `with sums as (
       select provider, resource_class, sum(amount)::bigint as allocated,
              coalesce(sum(amount) filter (where pinned), 0)::bigint as allocated_pinned
         from allocations
        where $1::text[] is null or provider in (select name from resource_providers where host = any($1))
        group by 1, 2
     )
     select p.host, i.provider, i.resource_class, inventory_capacity(i) as capacity, i.used, i.pinned, i.offered,
            inventory_takes(i, 0, 0) as fits, coalesce(sums.allocated, 0) as allocated,
            coalesce(sums.allocated_pinned, 0) as allocated_pinned,
            array(select trait from provider_traits t where t.provider = i.provider) as traits
       from inventories i
       join resource_providers p on p.name = i.provider
       left join sums on sums.provider = i.provider and sums.resource_class = i.resource_class
      where ($1::text[] is null or p.host = any($1))
        and (i.resource_class = $2 or i.used <> coalesce(sums.allocated, 0)
             or i.pinned <> coalesce(sums.allocated_pinned, 0) or not (i.offered and inventory_takes(i, 0, 0)))
      order by i.provider collate "C", i.resource_class collate "C"`,
    [hosts === undefined ? null : [...hosts], MEM_ENCRYPTION_CONTEXT],
  )
  return rows.map(({ traits, ...row }) => ({
    ...row,
    model: Object.values(MEM_ENCRYPTION_MODELS).find(({ trait }) => traits.includes(trait))?.model,
  }))
}

const NO_UUID = '00000000-0000-0000-0000-000000000000'

interface ClaimRow {
  readonly uuid: string
  readonly instance: string
  readonly migration_type: Migration['type'] | null
  readonly attempt: number
  readonly host: string | null
  readonly changed_at: Date
  readonly resources: Readonly<Record<string, number>>
}

interface InventoryRow extends Omit<InventoryLook, 'model'> {
  readonly traits: readonly string[]
}
