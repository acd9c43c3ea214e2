import { PLANS } from './claim-group-schema.ts'

/**
 * While an instance moves, two consumers hold what it has: the instance its destination, and the migration the source, by
 * a row of its own (Nova's way). A migration's row is only touched by who has locked the row of its instance, so those
 * rows need no order among themselves. An instance has one open move at most.
 *
 * The row stays when the move is over: a claim for it that comes late is void.
 */
const COLUMNS = `
  alter table consumers
    -- Of a migration: whose source it holds. Null: this is an instance.
    add column instance         uuid,
    add column migration_type   text check (migration_type in ('evacuation', 'migration', 'resize')),
    add column migration_status text check (migration_status in ('open', 'finished', 'confirmed', 'reverted', 'released')),
    add constraint consumers_migration_is_whole
      check ((instance is null) = (migration_status is null) and instance is distinct from uuid);
  create unique index consumers_one_move on consumers (instance) where migration_status = 'open';
`

/**
 * Before the claims of moves: what their instances have goes over to the migrations, unless that was done for an earlier
 * try of the same move. Gives the instances whose move is over, or is not theirs, or waits for another.
 */
const OPEN_MOVES = `
  create function open_moves(claims json, moves json) returns uuid[] language plpgsql as $$
  declare
    opened uuid[];
  begin
    insert into consumers as c (uuid, attempt)
    select n.uuid, 0 from json_to_recordset(claims) as n (uuid uuid) order by n.uuid
    on conflict (uuid) do update set attempt = c.attempt where false;

    with openings as (
      insert into consumers (uuid, attempt, host, report, instance, migration_type, migration_status)
      select distinct on (n.migration) n.migration, i.attempt, i.host, i.report, i.uuid, n.type, 'open'
        from json_to_recordset(moves) as n (uuid uuid, attempt integer, migration uuid, type text)
        join consumers i on i.uuid = n.uuid
       where i.instance is null and i.attempt < n.attempt and i.void_through < n.attempt
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
       where not exists (select from consumers m where m.uuid = n.migration and m.instance = n.uuid
                                                   and m.migration_status = 'open'));
  end $$;
`

const END_MOVES = `
  create function confirm_move(the_instance uuid, the_migration uuid) returns text language plpgsql ${PLANS} as $$
  declare
    source text;
  begin
    perform from consumers where uuid = the_instance for no key update;
    select m.host into source from consumers m
     where m.uuid = the_migration and m.instance = the_instance and m.migration_status in ('open', 'finished');
    if not found then return null; end if;
    delete from allocations where consumer = the_migration;
    update consumers set host = null, report = null, migration_status = 'confirmed', changed_at = now()
     where uuid = the_migration;
    return source;
  end $$;

  -- The source's try is the instance's again, unless it was given back meanwhile.
  create function revert_move(the_instance uuid, the_migration uuid, the_type text) returns text
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
      delete from allocations where consumer = the_instance;
      update allocations set consumer = the_instance where consumer = the_migration;
      update consumers set attempt = moved.attempt, host = moved.host, report = moved.report, changed_at = now()
       where uuid = the_instance;
      back := moved.host;
    else
      delete from allocations where consumer in (the_instance, the_migration);
      update consumers set host = null, report = null, changed_at = now() where uuid = the_instance;
    end if;
    update consumers set host = null, report = null, migration_status = 'reverted', changed_at = now()
     where uuid = the_migration;
    return back;
  end $$;
`

export const MOVES = COLUMNS + OPEN_MOVES + END_MOVES

/** Nova's name of a move in which the guest goes on running. */
export const LIVE_MIGRATIONS = `
  alter table consumers drop constraint consumers_migration_type_check;
  alter table consumers add constraint consumers_migration_type_check
    check (migration_type in ('evacuation', 'migration', 'resize', 'rebuild', 'live-migration'));
`
