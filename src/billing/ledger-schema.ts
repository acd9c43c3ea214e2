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
]
