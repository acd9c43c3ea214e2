/** In place of foreign keys, which look once per row: the consumers are there, and stay. */
const CONSUMERS_EXIST = `
  consumers := array(select distinct consumer from taken);
  select count(*) into found_consumers
    from (select from consumers c where c.uuid = any(consumers) order by c.uuid for key share) as there;
  if found_consumers < array_length(consumers, 1) then
    raise exception 'an allocation is of a consumer that is not there' using errcode = 'foreign_key_violation';
  end if;`

/** Rows of `moved` come in the order of all writers, and lock their inventories in it. */
const IN_ORDER = 'order by provider collate "C", resource_class collate "C"'
const LOCKED = `
  locked as materialized (
    select m.* from moved m, lateral (
      select from inventories i where i.provider = m.provider and i.resource_class = m.resource_class
         for no key update) as i)`
const SET_USE = `
    update inventories i
       set used = i.used + m.amount, pinned = i.pinned + m.pinned, version = i.version + 1
      from locked m where i.provider = m.provider and i.resource_class = m.resource_class`

/** Of the rows of `moved`, those that no inventory took. */
const EVERY_ROW_LOOKED_FOR =
  'not exists (select from done d where d.provider = m.provider and d.resource_class = m.resource_class)'

/** The same, where mostly all are taken: row by row only when not as many were. */
export const LOOKED_FOR_WHERE_SOME_ARE = `
   (select count(*) from done) < (select count(*) from moved)
   and ${EVERY_ROW_LOOKED_FOR}`

/** What is less than before is always taken: the host may have shrunk meanwhile. */
const take = (refusedRows: string) => `
  ${LOCKED},
  done as (${SET_USE}
       and (m.amount <= 0 and m.pinned <= 0
            or i.offered
               and inventory_takes(i, m.amount, m.pinned)
               and m.lowest >= i.min_unit and m.highest <= i.max_unit
               and (i.step_size = 1 or not exists (
                 select from taken t where t.provider = i.provider and t.resource_class = i.resource_class
                                       and t.amount % i.step_size <> 0)))
    returning i.provider, i.resource_class)
  select m.* into refused from moved m
   where ${refusedRows}
   ${IN_ORDER} limit 1;
  if found then
    perform refuse_claim(refused.provider, refused.resource_class, refused.amount, refused.pinned,
                         refused.lowest, refused.highest);
  end if;`

/** The end of a trigger function: logs the hosts of providers that stand in the column `provider` of these rows. */
export type LogHosts = (rows: string) => string

/** What moves `inventories.used` with allocations, where it is there already: with other ways to log hosts and find what is refused. */
export function movingUseAgain(logHosts: LogHosts, refusedRows = EVERY_ROW_LOOKED_FOR): string {
  return movingUse(logHosts, refusedRows).replaceAll('create function', 'create or replace function')
}

export const movingUse = (logHosts: LogHosts, refusedRows = EVERY_ROW_LOOKED_FOR) => `
  create function allocations_taken() returns trigger language plpgsql as $$
  declare
    consumers uuid[];
    found_consumers integer;
    refused record;
  begin ${CONSUMERS_EXIST}
  with moved as materialized (
    select provider, resource_class, sum(amount) as amount, coalesce(sum(amount) filter (where pinned), 0) as pinned,
           min(amount) as lowest, max(amount) as highest
      from taken group by provider, resource_class ${IN_ORDER}), ${take(refusedRows)} ${logHosts('taken')}
  end $$;

  create function allocations_given_back() returns trigger language plpgsql as $$
  begin
  with moved as materialized (
    select provider, resource_class, -sum(amount) as amount, -coalesce(sum(amount) filter (where pinned), 0) as pinned
      from given group by provider, resource_class ${IN_ORDER}), ${LOCKED} ${SET_USE}; ${logHosts('given')}
  end $$;

  -- What goes to another consumer as it is moves nothing.
  create function allocations_changed() returns trigger language plpgsql as $$
  declare
    consumers uuid[];
    found_consumers integer;
    refused record;
  begin ${CONSUMERS_EXIST}
  with moved as materialized (
    select provider, resource_class, sum(amount) as amount, coalesce(sum(amount) filter (where pinned), 0) as pinned,
           min(amount) filter (where amount > 0) as lowest, max(amount) as highest
      from (select provider, resource_class, amount, pinned from taken
            union all
            select provider, resource_class, -amount, pinned from given) as difference
     group by provider, resource_class
    having sum(amount) <> 0 or coalesce(sum(amount) filter (where pinned), 0) <> 0
     ${IN_ORDER}), ${take(refusedRows)}
  ${logHosts('(select provider from taken union all select provider from given) as b')}
  end $$;
`
