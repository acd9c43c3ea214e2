import type { Migration } from './migration.ts'
import { relayMigrations } from './outbox-relay-schema.ts'

/** The table of messages that wait, and the function that stores them; what was sent under a number is kept beside it. */
export const outboxMigrations: readonly Migration[] = [
  {
    id: 'outbox-0001',
    sql: `
      create table outbox (
        id           bigint generated always as identity primary key,
        owner        text not null,
        ordering_key text not null,
        destination  jsonb not null,
        body         text not null,
        mandatory    boolean not null,
        stored_at    timestamptz not null default now(),
        -- In the future while a sender has it, or after it could not be sent.
        not_before   timestamptz not null default now(),
        failures     integer not null default 0,
        last_failure text
      );
      create index outbox_order on outbox (owner, ordering_key, id);
      create index outbox_due on outbox (owner, not_before, id);
    `,
  },
  // The trace that a message belongs to.
  { id: 'outbox-0002', sql: 'alter table outbox add column headers jsonb' },
  // A function, for each of its statements sees what is committed by then: who calls it holds the lock that a key names.
  {
    id: 'outbox-0003-store',
    sql: `
      create function outbox_store(its_owner text, messages jsonb, lease_ms double precision) returns text[]
      language plpgsql as $$
      declare ids text[];
      begin
        with stored as (
          insert into outbox (owner, ordering_key, destination, body, mandatory, headers, not_before)
          select its_owner, m.ordering_key, m.destination, m.body, m.mandatory, m.headers,
                 case when m.nth = 1 and not exists (
                        select from outbox older where older.owner = its_owner and older.ordering_key = m.ordering_key)
                      then now() + lease_ms * interval '1 millisecond' else now() end
            from (select *, row_number() over (partition by ordering_key order by position) as nth
                    from rows from (jsonb_to_recordset(messages)
                           as (ordering_key text, destination jsonb, body text, mandatory boolean, headers jsonb))
                         with ordinality as r (ordering_key, destination, body, mandatory, headers, position)) m
           order by m.position
          returning id, not_before > now() as taken)
        select array_agg(case when taken then id::text end order by id) into ids from stored;
        return ids;
      end $$;`,
  },
  // Numbers of messages, counted for each key as they are stored; and what was sent under them, to be sent again.
  {
    id: 'outbox-0004-numbers',
    sql: `
      create table outbox_series (
        owner        text not null,
        ordering_key text not null,
        -- Given last: whoever counts on holds the row until it commits, so numbers commit in their order, without gaps.
        last         bigint not null,
        primary key (owner, ordering_key)
      ) with (fillfactor = 80);
      create table outbox_sent (
        owner        text not null,
        ordering_key text not null,
        number       bigint not null,
        destination  jsonb not null,
        body         text not null,
        headers      jsonb,
        sent_at      timestamptz not null default now(),
        primary key (owner, ordering_key, number)
      );
      create index outbox_sent_age on outbox_sent (owner, sent_at);
      alter table outbox add column number bigint;
      drop function outbox_store(text, jsonb, double precision);
      create function outbox_store(
        its_owner text, messages jsonb, lease_ms double precision, delay_ms double precision default 0
      ) returns jsonb language plpgsql as $$
      declare kept jsonb;
      begin
        with asked as (
          select *, row_number() over (partition by ordering_key order by position) as nth,
                 count(number_mark) over (partition by ordering_key order by position desc) - 1 as behind
            from rows from (jsonb_to_recordset(messages)
                   as (ordering_key text, destination jsonb, body text, mandatory boolean, headers jsonb, number_mark text))
                 with ordinality as r (ordering_key, destination, body, mandatory, headers, number_mark, position)
        ), counted as (
          insert into outbox_series as series (owner, ordering_key, last)
          select its_owner, ordering_key, count(*) from asked
           where number_mark is not null group by ordering_key order by ordering_key
              on conflict (owner, ordering_key) do update set last = series.last + excluded.last
          returning ordering_key, last
        ), stored as (
          insert into outbox (owner, ordering_key, destination, body, mandatory, headers, number, not_before)
          select its_owner, m.ordering_key, m.destination, coalesce(replace(m.body, m.number_mark, m.number::text), m.body),
                 m.mandatory, m.headers, m.number,
                 case when lease_ms is not null and m.nth = 1 and not exists (
                        select from outbox older where older.owner = its_owner and older.ordering_key = m.ordering_key)
                      then now() + lease_ms * interval '1 millisecond'
                      else now() + delay_ms * interval '1 millisecond' end
            from (select asked.*, case when number_mark is not null then counted.last - behind end as number
                    from asked left join counted using (ordering_key)) m
           order by m.position
          returning id, number, lease_ms is not null and not_before > now() as taken)
        select jsonb_agg(jsonb_build_array(case when taken then id::text end, number) order by id) into kept from stored;
        return kept;
      end $$;`,
  },
  // Its plan is kept, and may have been made when the table was short: what waits of a key is looked up all the same.
  {
    id: 'outbox-0005-by-index',
    sql: 'alter function outbox_store(text, jsonb, double precision, double precision) set enable_seqscan = off',
  },
  // Whether a message is the first of its key is looked up key by key: `not exists` was planned as one scan of all that the
  // owner has waiting, and of what is sent and not vacuumed. A bitmap scan would not mark dead index entries, either. The rest
  // of the function is as it was.
  {
    id: 'outbox-0006-key-by-key',
    sql: `
      create or replace function outbox_store(
        its_owner text, messages jsonb, lease_ms double precision, delay_ms double precision default 0
      ) returns jsonb language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
      declare kept jsonb;
      begin
        with asked as (
          select *, row_number() over (partition by ordering_key order by position) as nth,
                 count(number_mark) over (partition by ordering_key order by position desc) - 1 as behind
            from rows from (jsonb_to_recordset(messages)
                   as (ordering_key text, destination jsonb, body text, mandatory boolean, headers jsonb, number_mark text))
                 with ordinality as r (ordering_key, destination, body, mandatory, headers, number_mark, position)
        ), counted as (
          insert into outbox_series as series (owner, ordering_key, last)
          select its_owner, ordering_key, count(*) from asked
           where number_mark is not null group by ordering_key order by ordering_key
              on conflict (owner, ordering_key) do update set last = series.last + excluded.last
          returning ordering_key, last
        ), stored as (
          insert into outbox (owner, ordering_key, destination, body, mandatory, headers, number, not_before)
          select its_owner, m.ordering_key, m.destination, coalesce(replace(m.body, m.number_mark, m.number::text), m.body),
                 m.mandatory, m.headers, m.number,
                 case when lease_ms is not null and m.nth = 1 and (
                        select older.id from outbox older where older.owner = its_owner and older.ordering_key = m.ordering_key
                         order by older.id limit 1) is null
                      then now() + lease_ms * interval '1 millisecond'
                      else now() + delay_ms * interval '1 millisecond' end
            from (select asked.*, case when number_mark is not null then counted.last - behind end as number
                    from asked left join counted using (ordering_key)) m
           order by m.position
          returning id, number, lease_ms is not null and not_before > now() as taken)
        select jsonb_agg(jsonb_build_array(case when taken then id::text end, number) order by id) into kept from stored;
        return kept;
      end $$;`,
  },
  // Bodies of more than 2 KB are compressed: by pglz, the default, a notification's takes a third of what storing it costs, by lz4
  // next to nothing (bench/README.md). Some servers are built without it.
  {
    id: 'outbox-0007-lz4',
    sql: `
      do $$ begin
        alter table outbox alter column body set compression lz4;
        alter table outbox_sent alter column body set compression lz4;
      exception when feature_not_supported then null;
      end $$;`,
  },
  // Bodies apart from the JSON of the rest, so that nobody writes or reads them as JSON once more; all messages of a key that has none
  // waiting are taken, for who has taken them sends them in their order. `outbox_store` stays for workers of earlier releases.
  {
    id: 'outbox-0008-bodies-apart',
    sql: `
      create function outbox_put(
        its_owner text, messages jsonb, bodies text[], lease_ms double precision, delay_ms double precision default 0,
        -- Of messages that are about something only those about these; null: all.
        only_about uuid[] default null
      ) returns jsonb language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
      declare kept jsonb;
      begin
        with asked as (
          select *, count(number_mark) over (partition by ordering_key order by position desc) - 1 as behind
            from rows from (jsonb_to_recordset(messages)
                   as (ordering_key text, destination jsonb, mandatory boolean, headers jsonb, number_mark text, about uuid),
                   unnest(bodies))
                 with ordinality as r (ordering_key, destination, mandatory, headers, number_mark, about, body, position)
           where only_about is null or about = any(only_about)
        ), counted as (
          insert into outbox_series as series (owner, ordering_key, last)
          select its_owner, ordering_key, count(*) from asked
           where number_mark is not null group by ordering_key order by ordering_key
              on conflict (owner, ordering_key) do update set last = series.last + excluded.last
          returning ordering_key, last
        ), stored as (
          insert into outbox (owner, ordering_key, destination, body, mandatory, headers, number, not_before)
          select its_owner, m.ordering_key, m.destination, coalesce(replace(m.body, m.number_mark, m.number::text), m.body),
                 m.mandatory, m.headers, m.number,
                 case when lease_ms is not null and (
                        select older.id from outbox older where older.owner = its_owner and older.ordering_key = m.ordering_key
                         order by older.id limit 1) is null
                      then now() + lease_ms * interval '1 millisecond'
                      else now() + delay_ms * interval '1 millisecond' end
            from (select asked.*, case when number_mark is not null then counted.last - behind end as number
                    from asked left join counted using (ordering_key)) m
           order by m.position
          returning id, number, lease_ms is not null and not_before > now() as taken)
        select jsonb_agg(jsonb_build_array(case when taken then id::text end, number) order by id) into kept from stored;
        return kept;
      end $$;`,
  },
  ...relayMigrations,
]
