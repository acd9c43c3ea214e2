/**
 * What schedulers need to keep hosts in memory: a log of the hosts that changed, a version of each inventory's numbers,
 * and what is known of a host beside its report.
 *
 * The log is read by transaction id, not by time: whoever has read everything below the oldest transaction that was
 * still open then (`feed.ts`) has missed nothing, however late that one commits. An index on the inventories instead
 * would cost each claim more than the log does, because no update of an indexed column stays on its page (HOT).
 */
const COLUMNS = `
  alter table inventories add column version bigint not null default 1;
  -- Room on each page for the row's next version.
  alter table inventories set (fillfactor = 70);

  alter table compute_hosts
    -- By the schedulers, when they have seen no sign of life for too long; null: alive.
    add column down_since    timestamptz,
    -- By an operator: its guests are gone for good, whatever it says of itself.
    add column forced_down   boolean not null default false,
    -- In a row; a success begins anew.
    add column failed_builds integer not null default 0 check (failed_builds >= 0),
    add column disabled_by   text check (disabled_by in ('operator', 'build failures')),
    add column worker_id     text,
    add column report_sequence bigint;
  update compute_hosts set disabled_by = 'operator' where disabled;
  alter table compute_hosts set (fillfactor = 70);
`

const LOG = `
  create table host_changes (
    changed_xid xid8 not null default pg_current_xact_id(),
    host        text not null
  );
  create index host_changes_by_xid on host_changes (changed_xid);

  -- One row: changes before \`since\` are forgotten, those before \`next\` will be.
  create table host_changes_kept (
    since      xid8 not null,
    next       xid8 not null,
    rotated_at timestamptz not null default now()
  );
  create unique index host_changes_kept_once on host_changes_kept ((true));
  insert into host_changes_kept (since, next) values ('0', pg_snapshot_xmin(pg_current_snapshot()));

  -- Also forgets what cannot have happened yet: left by a dump of another cluster, which counted further.
  create function rotate_host_changes() returns void language sql as $$
    with rotated as (
      update host_changes_kept
         set since = next, next = pg_snapshot_xmin(pg_current_snapshot()), rotated_at = now()
       where rotated_at < now() - interval '1 minute'
      returning since)
    delete from host_changes c using rotated
     where c.changed_xid < rotated.since or c.changed_xid >= pg_snapshot_xmax(pg_current_snapshot());
  $$;
`

const WRITERS = `
  create function host_changed() returns trigger language plpgsql as $$
  begin
    if tg_op <> 'INSERT' then insert into host_changes (host) values (old.host); end if;
    if tg_op = 'INSERT' or tg_op = 'UPDATE' and new.host <> old.host then
      insert into host_changes (host) values (new.host);
    end if;
    return null;
  end $$;
  -- Not of last_seen_up and down_since, which are read apart.
  create trigger compute_hosts_change
    after insert or delete or update of host, facts, root_provider, report_interval_seconds, disabled, disabled_reason,
                                       forced_down, failed_builds on compute_hosts
    for each row execute function host_changed();
  create trigger resource_providers_change after insert or update or delete on resource_providers
    for each row execute function host_changed();

  create function providers_changed() returns trigger language plpgsql as $$
  begin
    insert into host_changes (host)
    select distinct p.host from changed c join resource_providers p on p.name = c.provider;
    return null;
  end $$;

  create function next_version() returns trigger language plpgsql as $$
  begin
    new.version := old.version + 1;
    return new;
  end $$;
  create trigger inventories_version before update on inventories for each row execute function next_version();
`

/** A transition table belongs to one kind of event, so each has a trigger of its own. */
function noteProvidersOf(table: string): string {
  const events = { insert: 'new', update: 'new', delete: 'old' }
  const triggers = Object.entries(events).map(
    ([event, rows]) =>
      `create trigger ${table}_${event}_changes after ${event} on ${table} referencing ${rows} table as changed
         for each statement execute function providers_changed();`,
  )
  return triggers.join('\n')
}

export const FEED = COLUMNS + LOG + WRITERS + noteProvidersOf('inventories') + noteProvidersOf('provider_traits')

/**
 * Of what is told of an inventory, the higher version counts (`hosts/host-use.ts`). One that was removed and is offered anew had begun
 * to count at 1, and what was told late of the one before would have passed for newer. No inventory changes more than a thousand
 * times a second for long, so one that begins at the time, in milliseconds, is above all that were before it.
 */
export const VERSIONS_BY_TIME = `
  alter table inventories alter column version set default (extract(epoch from clock_timestamp()) * 1000)::bigint`
