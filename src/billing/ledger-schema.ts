import type { Migration } from '../database/migration.ts'

/** Tables of the ledger, in a database of its own. Released ones are never edited. */
export const ledgerMigrations: readonly Migration[] = [
  {
    id: 'billing-0001',
    sql: `
      create table usage_facts (
        -- Compared as bytes: each insertion compares them often.
        instance_uuid text collate "C" not null,
        message_id    text collate "C" not null,
        -- Not jsonb: it is read whole and never searched.
        fact          text not null,
        -- Of instance.exists: host and period.
        audited       text,
        primary key (instance_uuid, message_id)
      );
      create index usage_facts_audited on usage_facts (audited) where audited is not null;
      create table unread_notifications (
        message_id   text primary key,
        event_type   text not null,
        reason       text not null,
        notification text not null,
        stored_at    timestamptz not null default now()
      );
    `,
  },
  {
    id: 'billing-0002-positions',
    sql: `
      create table event_positions (
        instance_uuid text collate "C" primary key,
        -- Number of the last notification that is in the ledger, and all before it.
        last integer not null
      ) with (fillfactor = 80);
      -- Notifications that nobody had any more when they were missed.
      create table lost_events (
        instance_uuid text not null,
        first integer not null,
        last integer not null,
        noted_at timestamptz not null default now(),
        primary key (instance_uuid, first)
      );
    `,
  },
  {
    // Releases before took an instance whose uuid is written in capitals for another one, and left out what a clash tells of.
    id: 'billing-0003-one-spelling',
    sql: `
      insert into unread_notifications (message_id, event_type, reason, notification)
      select left(u.message_id || ', otherwise: of ' || u.instance_uuid, 500), coalesce(u.fact::json ->> 'event_type', ''),
             left('instance ' || l.instance_uuid || ' has a fact with the id of this one: ' || l.fact, 1000),
             json_build_object('message_id', u.message_id, 'publisher_id', null, 'event_type', null, 'priority', null,
                               'timestamp', null, 'payload', u.fact::json)::text
        from usage_facts u
        join usage_facts l on l.instance_uuid = lower(u.instance_uuid) and l.message_id = u.message_id and l.fact <> u.fact
       where u.instance_uuid <> lower(u.instance_uuid)
          on conflict do nothing;
      insert into usage_facts (instance_uuid, message_id, fact, audited)
      select lower(instance_uuid), message_id, fact, audited from usage_facts where instance_uuid <> lower(instance_uuid)
          on conflict do nothing;
      delete from usage_facts where instance_uuid <> lower(instance_uuid);

      insert into event_positions (instance_uuid, last)
      select lower(instance_uuid), max(last) from event_positions where instance_uuid <> lower(instance_uuid)
       group by lower(instance_uuid)
          on conflict (instance_uuid) do update set last = greatest(event_positions.last, excluded.last);
      delete from event_positions where instance_uuid <> lower(instance_uuid);
      insert into lost_events (instance_uuid, first, last, noted_at)
      select distinct on (lower(instance_uuid), first) lower(instance_uuid), first, last, noted_at from lost_events
       where instance_uuid <> lower(instance_uuid) order by lower(instance_uuid), first, last desc
          on conflict (instance_uuid, first) do update set last = greatest(lost_events.last, excluded.last);
      delete from lost_events where instance_uuid <> lower(instance_uuid);

      -- The notification of a clash is the fact that came later, in words of ours.
      update unread_notifications set event_type = coalesce(notification::json #>> '{payload,event_type}', '')
       where event_type = '' and message_id like '%, otherwise: %';
    `,
  },
  {
    id: 'billing-0004-numbers-given-twice',
    sql: `
      -- Of the notification that had the number: another's since, where a database was restored.
      alter table event_positions add column message_id text;
      create table renumbered_events (
        instance_uuid text not null,
        reached integer not null,
        -- To what number the conductors had counted then.
        counted integer not null,
        noted_at timestamptz not null default now(),
        primary key (instance_uuid, reached, counted)
      );
    `,
  },
  {
    // A release before would read none of it, and set it aside: so it is kept from the tables.
    id: 'billing-0005-facts-without-names',
    sql: `
      comment on column usage_facts.fact is
        'JSON: [[event_type, kind, at, sequence], [project_id, user_id, display_name],
[host, flavor, vcpus, memory_mb, model, state], [launched_at, terminated_at], [told_at, period beginning, ending]],
or, of an earlier release, an object';
    `,
  },
]
