import { PLANS } from './claim-group-schema.ts'
import { CLAIM_REFUSED_STATE } from './sql-states.ts'

/**
 * The functions of `claim-group-schema.ts` take their claims as columns instead of JSON, which was parsed anew by each of
 * their statements: one array for each field of the claims, and one for each field of what they take. How the inventories
 * are afterwards comes back in the order of what is taken, refused claims too: no key is sent twice.
 */
const NO_LONGER = `
  drop function claim_group(json, boolean, json);
  drop function claim_all(json, json);
  drop function group_outcome(uuid[], json[]);
  drop function lock_inventories(uuid[], json);
  drop function open_moves(json, json);
`

const CLAIMS = `uuids uuid[], attempts integer[], hosts text[], reports text[],
    takers uuid[], providers text[], classes text[], amounts integer[], pins boolean[], moves json`

const LOCK_INVENTORIES = `
  create function lock_inventories(uuids uuid[], providers text[], classes text[]) returns void language plpgsql as $$
  begin
    perform from inventories
     where (provider, resource_class) in (
       select provider, resource_class from allocations where consumer = any(uuids)
       union
       select n.provider, n.resource_class from unnest(providers, classes) as n (provider, resource_class))
     order by provider collate "C", resource_class collate "C" for no key update;
  end $$;
`

/** As \`moves-schema.ts\` says. */
const OPEN_MOVES = `
  create function open_moves(uuids uuid[], moves json) returns uuid[] language plpgsql as $$
  declare
    opened uuid[];
  begin
    insert into consumers as c (uuid, attempt) select u, 0 from unnest(uuids) as u order by u
    on conflict (uuid) do update set attempt = c.attempt where false;

    with openings as (
      insert into consumers (uuid, attempt, host, report, instance, migration_type, migration_status)
      select distinct on (n.migration) n.migration, i.attempt, i.host, i.report, i.uuid, n.type, 'open'
        from json_to_recordset(moves) as n (uuid uuid, attempt integer, migration uuid, type text)
        join consumers i on i.uuid = n.uuid
       where n.uuid = any(uuids) and i.instance is null and i.attempt < n.attempt and i.void_through < n.attempt
         and not exists (select from consumers m where m.instance = i.uuid and m.migration_status = 'open')
       order by n.migration, i.uuid
      on conflict (uuid) do nothing
      returning uuid)
    select array_agg(uuid) into opened from openings;
    if opened is not null then
      update allocations a set consumer = m.uuid from consumers m
       where m.uuid = any(opened) and a.consumer = m.instance;
    end if;

    return array(
      select n.uuid from json_to_recordset(moves) as n (uuid uuid, migration uuid)
       where n.uuid = any(uuids)
         and not exists (select from consumers m where m.uuid = n.migration and m.instance = n.uuid
                                                   and m.migration_status = 'open'));
  end $$;
`

/** Those of the claims that are \`chosen\`, all of them or, when an inventory would be exceeded, none: then it raises. */
const CLAIM_ALL = `
  create function claim_all(chosen uuid[], ${CLAIMS}) returns uuid[] language plpgsql as $$
  declare
    claimed uuid[];
    replacing uuid[];
    blocked uuid[] := '{}';
  begin
    if moves is not null then blocked := open_moves(chosen, moves); end if;

    -- A row that was there has an xmax: this transaction, which locks it. A try that has a claim, or is void, is left out.
    with became as (
      insert into consumers as c (uuid, attempt, host, report)
      select n.uuid, n.attempt, n.host, n.report::json
        from unnest(uuids, attempts, hosts, reports) as n (uuid, attempt, host, report)
       where n.uuid = any(chosen) and n.uuid <> all(blocked) order by n.uuid
      on conflict (uuid) do update
         set attempt = excluded.attempt, host = excluded.host, report = excluded.report, changed_at = now()
       where c.attempt < excluded.attempt and c.void_through < excluded.attempt and c.instance is null
      returning c.uuid, c.xmax <> 0 as replaces)
    select array_agg(uuid), array_agg(uuid) filter (where replaces) into claimed, replacing from became;
    if moves is not null then replacing := claimed; end if;

    if replacing is not null then
      perform lock_inventories(replacing, providers, classes);
      delete from allocations where consumer = any(replacing);
    end if;
    if claimed is not null then
      insert into allocations (consumer, provider, resource_class, amount, pinned)
      select n.consumer, n.provider, n.resource_class, n.amount, n.pinned
        from unnest(takers, providers, classes, amounts, pins) as n (consumer, provider, resource_class, amount, pinned)
       where n.consumer = any(claimed);
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
  create function claim_group(${CLAIMS}, all_or_nothing boolean) returns json language plpgsql ${PLANS} as $$
  declare
    claimed uuid[] := '{}';
    refused json[] := '{}';
    one uuid;
    message text;
    detail text;
  begin
    begin
      claimed := claim_all(uuids, uuids, attempts, hosts, reports, takers, providers, classes, amounts, pins, moves);
      return group_outcome(claimed, refused, providers, classes);
    exception when sqlstate '${CLAIM_REFUSED_STATE}' then
      get stacked diagnostics message = message_text, detail = pg_exception_detail;
    end;

    if all_or_nothing or array_length(uuids, 1) = 1 then
      select array_agg(json_build_object('uuid', u, 'message', message, 'detail', detail::json)) into refused
        from unnest(uuids) as u;
      return group_outcome('{}', refused, providers, classes);
    end if;

    insert into consumers as c (uuid, attempt) select u, 0 from unnest(uuids) as u order by u
    on conflict (uuid) do update set attempt = c.attempt where false;
    perform from server_groups g
     where g.uuid in (select m.server_group from server_group_members m where m.instance_uuid = any(uuids))
     order by g.uuid for no key update;
    perform lock_inventories(uuids, providers, classes);
    foreach one in array uuids loop
      begin
        claimed := claimed || claim_all(
          array[one], uuids, attempts, hosts, reports, takers, providers, classes, amounts, pins,
          (select json_agg(m.value) from json_array_elements(moves) as m where (m.value ->> 'uuid')::uuid = one));
      exception when sqlstate '${CLAIM_REFUSED_STATE}' then
        get stacked diagnostics message = message_text, detail = pg_exception_detail;
        refused := refused || json_build_object('uuid', one, 'message', message, 'detail', detail::json);
      end;
    end loop;
    delete from consumers where uuid = any(uuids) and attempt = 0 and void_through = 0;
    return group_outcome(claimed, refused, providers, classes);
  end $$;

  create function group_outcome(claimed uuid[], refused json[], providers text[], classes text[]) returns json
  language plpgsql as $$
  begin
    return (
      select json_build_object('claimed', claimed, 'refused', refused, 'used', array_agg(n.used),
                               'pinned', array_agg(n.pinned), 'versions', array_agg(n.version))
        from (select i.used, i.pinned, i.version
                from unnest(providers, classes) with ordinality as k (provider, resource_class, place)
                left join inventories i on i.provider = k.provider and i.resource_class = k.resource_class
               order by k.place) as n);
  end $$;
`

/** Most claims are of no group: whether they are is asked in the statement that looks who has come. */
const COMERS = `
  create or replace function consumers_come() returns trigger language plpgsql as $$
  declare
    comers uuid[] := array(
      select m.instance_uuid from server_group_members m
       where m.instance_uuid = any(array(select uuid from became where host is not null)));
  begin
    if comers <> '{}' then perform keep_server_groups(comers); end if;
    return null;
  end $$;

  create or replace function consumers_go_on() returns trigger language plpgsql as $$
  declare
    comers uuid[] := array(
      select b.uuid from became b join was w on w.uuid = b.uuid where b.host is not null and b.attempt > w.attempt);
  begin
    if comers <> '{}' then perform keep_server_groups(comers); end if;
    return null;
  end $$;
`

export const CLAIM_ARRAYS = NO_LONGER + LOCK_INVENTORIES + OPEN_MOVES + CLAIM_ALL + CLAIM_GROUP + COMERS
