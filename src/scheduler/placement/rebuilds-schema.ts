import { PLANS } from './claim-group-schema.ts'

/**
 * A rebuild is a move from a host to the same. Nothing is held twice for it: in the step that opens it the instance gets the
 * more of what it has and of what it is to have, and the migration holds its slot, if that is of another pool than the new one.
 * So whichever guest is there has its claim, and both ends only give back, and are never refused.
 */
const COLUMNS = `
  alter table consumers
    -- Of an open rebuild: what its instance had, and is to have.
    add column replaced json,
    add column becomes  json,
    drop constraint consumers_migration_type_check,
    add constraint consumers_migration_type_check
      check (migration_type in ('evacuation', 'migration', 'resize', 'rebuild'));
`

const OPEN_MOVES = `
  create or replace function open_moves(uuids uuid[], moves json) returns uuid[] language plpgsql as $$
  declare
    opened uuid[];
    rebuilt uuid[];
  begin
    insert into consumers as c (uuid, attempt) select u, 0 from unnest(uuids) as u order by u
    on conflict (uuid) do update set attempt = c.attempt where false;

    with openings as (
      insert into consumers (uuid, attempt, host, report, instance, migration_type, migration_status, replaced, becomes)
      select distinct on (n.migration) n.migration, i.attempt, i.host, i.report, i.uuid, n.type, 'open',
             case when n.type = 'rebuild' then (select json_agg(a) from allocations a where a.consumer = i.uuid) end,
             n.becomes
        from json_to_recordset(moves) as n (uuid uuid, attempt integer, migration uuid, type text, becomes json)
        join consumers i on i.uuid = n.uuid
       where n.uuid = any(uuids) and i.instance is null and i.attempt < n.attempt and i.void_through < n.attempt
         and not exists (select from consumers m where m.instance = i.uuid and m.migration_status = 'open')
       order by n.migration, i.uuid
      on conflict (uuid) do nothing
      returning uuid, migration_type)
    select array_agg(uuid) filter (where migration_type <> 'rebuild'),
           array_agg(uuid) filter (where migration_type = 'rebuild') into opened, rebuilt from openings;
    if opened is not null then
      update allocations a set consumer = m.uuid from consumers m
       where m.uuid = any(opened) and a.consumer = m.instance;
    end if;
    if rebuilt is not null then
      update allocations a set consumer = m.uuid from consumers m
       where m.uuid = any(rebuilt) and a.consumer = m.instance and a.resource_class = 'MEM_ENCRYPTION_CONTEXT'
         and not exists (select from json_to_recordset(m.becomes) as b (provider text, resource_class text)
                          where b.provider = a.provider and b.resource_class = a.resource_class);
    end if;

    return array(
      select n.uuid from json_to_recordset(moves) as n (uuid uuid, migration uuid)
       where n.uuid = any(uuids)
         and not exists (select from consumers m where m.uuid = n.migration and m.instance = n.uuid
                                                   and m.migration_status = 'open'));
  end $$;
`

/** Of a consumer whose row the caller has locked. Slots go first: with one, memory must be pinned. */
const SHRINK = `
  create function shrink_claim(the_instance uuid, wanted json) returns void language plpgsql as $$
  begin
    perform lock_inventories(array[the_instance], '{}', '{}');
    delete from allocations a
     where a.consumer = the_instance
       and not exists (select from json_to_recordset(wanted) as w (provider text, resource_class text)
                        where w.provider = a.provider and w.resource_class = a.resource_class);
    update allocations a set amount = least(a.amount, w.amount), pinned = a.pinned and coalesce(w.pinned, false)
      from json_to_recordset(wanted) as w (provider text, resource_class text, amount integer, pinned boolean)
     where a.consumer = the_instance and w.provider = a.provider and w.resource_class = a.resource_class
       and (a.amount > w.amount or a.pinned and not coalesce(w.pinned, false));
  end $$;
`

const END_MOVES = `
  create or replace function confirm_move(the_instance uuid, the_migration uuid) returns text language plpgsql ${PLANS} as $$
  declare
    moved consumers;
  begin
    perform from consumers where uuid = the_instance for no key update;
    select * into moved from consumers m
     where m.uuid = the_migration and m.instance = the_instance and m.migration_status in ('open', 'finished');
    if not found then return null; end if;
    if moved.migration_type = 'rebuild' then perform shrink_claim(the_instance, moved.becomes); end if;
    delete from allocations where consumer = the_migration;
    update consumers set host = null, report = null, migration_status = 'confirmed', replaced = null, becomes = null,
           changed_at = now()
     where uuid = the_migration;
    return moved.host;
  end $$;

  -- The source's try is the instance's again, unless it was given back meanwhile.
  create or replace function revert_move(the_instance uuid, the_migration uuid, the_type text) returns text
  language plpgsql ${PLANS} as $$
  declare
    moved consumers;
    back text;
  begin
    insert into consumers as c (uuid, attempt) values (the_instance, 0)
    on conflict (uuid) do update set attempt = c.attempt where false;
    select * into moved from consumers m
     where m.uuid = the_migration and m.instance = the_instance and m.migration_status = 'open';
    if not found then
      -- Before its claim came: that must find it over.
      insert into consumers (uuid, attempt, instance, migration_type, migration_status)
      select the_migration, 0, the_instance, the_type, 'reverted' where the_migration <> the_instance
      on conflict (uuid) do nothing;
      delete from consumers where uuid = the_instance and attempt = 0 and void_through = 0;
      return null;
    end if;

    if moved.attempt > (select void_through from consumers where uuid = the_instance) then
      if moved.migration_type = 'rebuild' then perform shrink_claim(the_instance, moved.replaced);
      else delete from allocations where consumer = the_instance;
      end if;
      update allocations set consumer = the_instance where consumer = the_migration;
      update consumers set attempt = moved.attempt, host = moved.host, report = moved.report, changed_at = now()
       where uuid = the_instance;
      back := moved.host;
    else
      delete from allocations where consumer in (the_instance, the_migration);
      update consumers set host = null, report = null, changed_at = now() where uuid = the_instance;
    end if;
    update consumers set host = null, report = null, migration_status = 'reverted', replaced = null, becomes = null,
           changed_at = now()
     where uuid = the_migration;
    return back;
  end $$;
`

export const REBUILDS = COLUMNS + OPEN_MOVES + SHRINK + END_MOVES
