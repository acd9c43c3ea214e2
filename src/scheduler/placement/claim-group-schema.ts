import { CLAIM_REFUSED_STATE } from './sql-states.ts'

/**
 * What a function runs, its triggers too, is planned once per session, perhaps while the tables are nearly empty: it
 * must never read a whole table, and never be planned anew for each call.
 */
export const PLANS = `set plan_cache_mode = force_generic_plan
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off`

/**
 * Many claims in one statement and one commit. Locks are taken in the order of all writers: consumers by uuid, their
 * server groups, then inventories by provider and class.
 */
const LOCK_INVENTORIES = `
  create function lock_inventories(uuids uuid[], claims json) returns void language plpgsql as $$
  begin
    perform from inventories
     where (provider, resource_class) in (
       select provider, resource_class from allocations where consumer = any(uuids)
       union
       select a.provider, a.resource_class
         from json_to_recordset(claims) as n (allocations json),
              json_to_recordset(n.allocations) as a (provider text, resource_class text))
     order by provider collate "C", resource_class collate "C" for no key update;
  end $$;
`

/** All of them or, when an inventory would be exceeded, none: then it raises. */
const CLAIM_ALL = `
  create function claim_all(claims json, moves json) returns uuid[] language plpgsql as $$
  declare
    claimed uuid[];
    replacing uuid[];
    blocked uuid[] := '{}';
  begin
    if moves is not null then blocked := open_moves(claims, moves); end if;

    -- A row that was there has an xmax: this transaction, which locks it. A try that has a claim, or is void, is left out.
    with became as (
      insert into consumers as c (uuid, attempt, host, report)
      select n.uuid, n.attempt, n.host, n.report
        from json_to_recordset(claims) as n (uuid uuid, attempt integer, host text, report json)
       where n.uuid <> all(blocked) order by n.uuid
      on conflict (uuid) do update
         set attempt = excluded.attempt, host = excluded.host, report = excluded.report, changed_at = now()
       where c.attempt < excluded.attempt and c.void_through < excluded.attempt and c.instance is null
      returning c.uuid, c.xmax <> 0 as replaces)
    select array_agg(uuid), array_agg(uuid) filter (where replaces) into claimed, replacing from became;
    if moves is not null then replacing := claimed; end if;

    if replacing is not null then
      perform lock_inventories(replacing, claims);
      delete from allocations where consumer = any(replacing);
    end if;
    if claimed is not null then
      insert into allocations (consumer, provider, resource_class, amount, pinned)
      select n.uuid, a.provider, a.resource_class, a.amount, coalesce(a.pinned, false)
        from json_to_recordset(claims) as n (uuid uuid, allocations json),
             json_to_recordset(n.allocations) as a (provider text, resource_class text, amount integer, pinned boolean)
       where n.uuid = any(claimed);
    end if;
    if blocked <> '{}' then
      delete from consumers where uuid = any(blocked) and attempt = 0 and void_through = 0;
    end if;
    return coalesce(claimed, '{}');
  end $$;
`

/**
 * Each claim by itself, unless it is all or nothing: first all at once, for that is nearly always right; when one of
 * them is refused, one after the other. Claims that are neither claimed nor refused were made before, or are void.
 *
 * In the second way every lock is taken before the first claim, and a row is made for consumers that are new: else two
 * groups with the same instance in them could wait for each other.
 *
 * Moves (`moves-schema.ts`) say by `uuid` which claim they belong to.
 */
const CLAIM_GROUP = `
  create function claim_group(claims json, all_or_nothing boolean, moves json default null) returns json language plpgsql ${PLANS} as $$
  declare
    claimed uuid[] := '{}';
    refused json[] := '{}';
    uuids uuid[];
    one record;
    message text;
    detail text;
  begin
    begin
      claimed := claim_all(claims, moves);
      return group_outcome(claimed, refused);
    exception when sqlstate '${CLAIM_REFUSED_STATE}' then
      get stacked diagnostics message = message_text, detail = pg_exception_detail;
    end;

    select array_agg(n.uuid) into uuids from json_to_recordset(claims) as n (uuid uuid);
    if all_or_nothing or array_length(uuids, 1) = 1 then
      return group_outcome('{}', (select array_agg(json_build_object('uuid', u, 'message', message, 'detail', detail::json))
                                    from unnest(uuids) as u));
    end if;

    insert into consumers as c (uuid, attempt) select u, 0 from unnest(uuids) as u order by u
    on conflict (uuid) do update set attempt = c.attempt where false;
    perform from server_groups g
     where g.uuid in (select m.server_group from server_group_members m where m.instance_uuid = any(uuids))
     order by g.uuid for no key update;
    perform lock_inventories(uuids, claims);
    for one in select n.value as claim, (n.value ->> 'uuid')::uuid as uuid from json_array_elements(claims) as n loop
      begin
        claimed := claimed || claim_all(json_build_array(one.claim), (
          select json_agg(m.value) from json_array_elements(moves) as m where (m.value ->> 'uuid')::uuid = one.uuid));
      exception when sqlstate '${CLAIM_REFUSED_STATE}' then
        get stacked diagnostics message = message_text, detail = pg_exception_detail;
        refused := refused || json_build_object('uuid', one.uuid, 'message', message, 'detail', detail::json);
      end;
    end loop;
    delete from consumers where uuid = any(uuids) and attempt = 0 and void_through = 0;
    return group_outcome(claimed, refused);
  end $$;

  create function group_outcome(claimed uuid[], refused json[]) returns json language plpgsql as $$
  begin
    return json_build_object('claimed', claimed, 'refused', refused, 'inventories', coalesce((
      select json_agg(json_build_object('provider', i.provider, 'resource_class', i.resource_class, 'used', i.used,
                                        'pinned', i.pinned, 'version', i.version))
        from (select distinct provider, resource_class from allocations where consumer = any(claimed)) as a,
             inventories i where i.provider = a.provider and i.resource_class = a.resource_class), '[]'));
  end $$;
`

/**
 * With an instance goes what its open move holds. Not what an evacuation holds: the guest may be there still, whatever
 * becomes of the instance.
 */
const RELEASE_GROUP = `
  create function release_group(releases json) returns json language plpgsql ${PLANS} as $$
  declare
    given uuid[];
    ended uuid[];
    held uuid[];
    hosts json;
  begin
    with asked as (
      select uuid, max(attempt) as attempt from json_to_recordset(releases) as n (uuid uuid, attempt integer) group by uuid
    ), voided as (
      insert into consumers as c (uuid, attempt, void_through) select uuid, 0, attempt from asked order by uuid
      on conflict (uuid) do update
         set void_through = greatest(c.void_through, excluded.void_through), changed_at = now()
       where c.instance is null
      returning c.uuid, c.attempt, c.host)
    select array_agg(v.uuid) filter (where v.host is not null), array_agg(v.uuid),
           json_object_agg(v.uuid, v.host) filter (where v.host is not null)
      into given, ended, hosts
      from voided v join asked using (uuid) where v.attempt <= asked.attempt;
    update consumers set migration_status = 'finished', changed_at = now()
     where instance = any(ended) and migration_status = 'open' and migration_type = 'evacuation';
    select array_agg(uuid) into held from consumers where instance = any(ended) and migration_status = 'open';
    if given is null and held is null then return '{}'; end if;
    delete from allocations where consumer = any(given || held);
    update consumers set host = null, report = null where uuid = any(given);
    if held is not null then
      update consumers set host = null, report = null, migration_status = 'released', changed_at = now()
       where uuid = any(held);
    end if;
    return coalesce(hosts, '{}');
  end $$;
`

export const CLAIM_GROUPS = LOCK_INVENTORIES + CLAIM_ALL + CLAIM_GROUP + RELEASE_GROUP
