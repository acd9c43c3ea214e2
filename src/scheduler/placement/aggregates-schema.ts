/**
 * Sets of hosts with metadata. Whatever changes about the aggregates of a host is in the log of changed hosts
 * (`feed-schema.ts`), so that every scheduler's memory sees it.
 */
export const AGGREGATES = `
  create table aggregates (
    name       text primary key,
    metadata   jsonb not null default '{}',
    created_at timestamptz not null default now()
  );
  create table aggregate_hosts (
    aggregate text not null references aggregates (name) on delete cascade,
    host      text not null references compute_hosts (host) on delete cascade,
    primary key (aggregate, host)
  );
  create index aggregate_hosts_of_host on aggregate_hosts (host);

  create trigger aggregate_hosts_change after insert or update or delete on aggregate_hosts
    for each row execute function host_changed();

  create function aggregate_changed() returns trigger language plpgsql as $$
  begin
    insert into host_changes (host) select host from aggregate_hosts where aggregate = new.name;
    return null;
  end $$;
  create trigger aggregates_change after update on aggregates
    for each row execute function aggregate_changed();
`
