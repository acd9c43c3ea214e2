import { CLAIM_REFUSED_STATE } from './sql-states.ts'

/** An instance is a member from the time when a host is first sought for it, as in Nova, and of one group at most. */
const TABLES = `
  create table server_groups (
    uuid       uuid primary key,
    name       text not null,
    policy     text not null check (policy in ('affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity')),
    -- Nova's: max_server_per_host, of anti-affinity.
    rules      jsonb not null default '{}',
    created_at timestamptz not null default now()
  );
  create table server_group_members (
    instance_uuid uuid primary key,
    server_group  uuid not null references server_groups (uuid) on delete cascade
  );
  create index server_group_members_of_group on server_group_members (server_group);
`

/**
 * The policy holds whoever claims, and however many at once: who comes to a host locks the row of his group first, so
 * members come one after the other, and each sees where the others are. Only who comes by a new try is looked at, not
 * who stays, and not who goes back to where a move had left room for him.
 */
const GUARD = `
  create function keep_server_groups(comers uuid[]) returns void language plpgsql as $$
  declare
    comer record;
    other text;
    here integer;
    most integer;
  begin
    for comer in
      select c.uuid, c.host, g.uuid as server_group, g.name, g.policy, g.rules
        from server_group_members m
        join server_groups g on g.uuid = m.server_group
        join consumers c on c.uuid = m.instance_uuid
       where m.instance_uuid = any(comers) and g.policy in ('affinity', 'anti-affinity')
       order by g.uuid, c.uuid
    loop
      perform from server_groups g where g.uuid = comer.server_group for no key update;
      if comer.policy = 'affinity' then
        select c.host into other
          from server_group_members m join consumers c on c.uuid = m.instance_uuid
         where m.server_group = comer.server_group and c.host <> comer.host and c.uuid <> comer.uuid limit 1;
        if found then
          raise exception 'group % is on % (affinity), not on %', comer.name, other, comer.host
            using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
              'server_group', comer.server_group, 'policy', comer.policy, 'group_host', other,
              'refusal', format('group %s is on %s', comer.name, other))::text;
        end if;
      else
        most := coalesce((comer.rules ->> 'max_server_per_host')::integer, 1);
        select count(*) into here
          from server_group_members m join consumers c on c.uuid = m.instance_uuid
         where m.server_group = comer.server_group and c.host = comer.host and c.uuid <> comer.uuid;
        if here >= most then
          raise exception '% of group % on % (anti-affinity), at most % on one host', here, comer.name, comer.host, most
            using errcode = '${CLAIM_REFUSED_STATE}', detail = json_build_object(
              'server_group', comer.server_group, 'policy', comer.policy, 'used', here, 'capacity', most,
              'refusal', format('%s of group %s are there', here, comer.name))::text;
        end if;
      end if;
    end loop;
  end $$;

  create function consumers_come() returns trigger language plpgsql as $$
  begin
    perform keep_server_groups(array(select uuid from became where host is not null));
    return null;
  end $$;
  create trigger consumers_come after insert on consumers referencing new table as became
    for each statement execute function consumers_come();

  create function consumers_go_on() returns trigger language plpgsql as $$
  begin
    perform keep_server_groups(array(
      select b.uuid from became b join was w on w.uuid = b.uuid where b.host is not null and b.attempt > w.attempt));
    return null;
  end $$;
  create trigger consumers_go_on after update on consumers referencing old table as was new table as became
    for each statement execute function consumers_go_on();
`

export const SERVER_GROUPS = TABLES + GUARD
