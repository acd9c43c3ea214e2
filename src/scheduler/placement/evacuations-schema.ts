import { PLANS } from './claim-group-schema.ts'

/**
 * An evacuation is finished when its instance runs elsewhere; the guest that it left behind may be there still, so what it
 * held there stays held. It ends when the host's worker has removed the guest (`confirm_move`), or when an operator says
 * that the host is fenced: powered off, so that nothing runs there.
 *
 * Rows of hosts are locked before those of consumers: whoever fences a host and whoever finishes an evacuation from it see
 * each other.
 */
export const EVACUATIONS = `
  alter table compute_hosts
    add column fenced boolean not null default false,
    add constraint compute_hosts_fenced_is_down check (not fenced or forced_down);

  drop trigger compute_hosts_change on compute_hosts;
  create trigger compute_hosts_change
    after insert or delete or update of host, facts, root_provider, report_interval_seconds, disabled, disabled_reason,
                                       forced_down, failed_builds, fenced on compute_hosts
    for each row execute function host_changed();

  create function finish_move(the_instance uuid, the_migration uuid) returns text language plpgsql ${PLANS} as $$
  declare
    is_fenced boolean;
  begin
    select h.fenced into is_fenced
      from compute_hosts h
     where h.host = (select m.host from consumers m where m.uuid = the_migration) for share;
    perform from consumers where uuid = the_instance for no key update;
    update consumers m set migration_status = 'finished', changed_at = now()
     where m.uuid = the_migration and m.instance = the_instance and m.migration_status = 'open';
    if is_fenced then return confirm_move(the_instance, the_migration); end if;
    return null;
  end $$;

  -- Of a host whose row the caller has locked, and found fenced.
  create function free_fenced(the_host text) returns integer language plpgsql ${PLANS} as $$
  declare
    freed uuid[];
  begin
    perform from consumers
     where uuid in (select m.instance from consumers m where m.host = the_host and m.migration_status = 'finished')
     order by uuid for no key update;
    with ended as (
      update consumers set host = null, report = null, migration_status = 'confirmed', changed_at = now()
       where host = the_host and migration_status = 'finished' returning uuid)
    select array_agg(uuid) into freed from ended;
    delete from allocations where consumer = any(freed);
    return coalesce(array_length(freed, 1), 0);
  end $$;
`
