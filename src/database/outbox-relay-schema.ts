import type { Migration } from './migration.ts'

/** What relays do again and again is functions, whose plans are kept. */
export const relayMigrations: readonly Migration[] = [
  // Forgetting, too, is a function, for the plan of its statement is kept then.
  {
    id: 'outbox-0009-forget',
    sql: `
      create function outbox_forget(its_owner text, ids bigint[]) returns boolean
      language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
      declare some_wait boolean;
      begin
        -- An owner that is compared is looked for in its index, where no statistics say that ids are better: among all that it has
        -- waiting, and all that was sent and is not vacuumed.
        with gone as (
          delete from outbox where id = any(ids) and (owner = its_owner) is true
          returning *, exists (select from outbox next where next.owner = outbox.owner
                                  and next.ordering_key = outbox.ordering_key and next.id > outbox.id) as has_next
        ), kept as (
          insert into outbox_sent (owner, ordering_key, number, destination, body, headers)
          select owner, ordering_key, number, destination, body, headers from gone where number is not null
              on conflict do nothing
        )
        select coalesce(bool_or(has_next), false) into some_wait from gone;
        return some_wait;
      end $$;`,
  },
  // And so is taking what is due, by indexes however many wait: planning it took as long as running it.
  {
    id: 'outbox-0010-take',
    sql: `
      create function outbox_take(its_owner text, most integer, lease_ms double precision) returns table (
        id text, ordering_key text, destination jsonb, body text, mandatory boolean, headers jsonb, failures integer
      ) language plpgsql set plan_cache_mode = force_generic_plan
        set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
      #variable_conflict use_column
      begin
        -- A row that another relay is taking is skipped; one that it has taken meanwhile fails the check of not_before,
        -- which PostgreSQL repeats on the row's newest version.
        return query
        with due as (
          select candidate.id from outbox candidate
           where candidate.owner = its_owner and candidate.not_before <= now()
             -- The first of its key, looked up key by key: as an anti-join it was planned as a scan of all that waits.
             and candidate.id = (select older.id from outbox older
                                  where older.owner = candidate.owner and older.ordering_key = candidate.ordering_key
                                  order by older.id limit 1)
           order by candidate.not_before, candidate.id limit most for update skip locked
        ), taken as (
          update outbox set not_before = now() + lease_ms * interval '1 millisecond'
            from due where outbox.id = due.id
          returning outbox.*
        )
        select taken.id::text, taken.ordering_key, taken.destination, taken.body, taken.mandatory, taken.headers, taken.failures
          from taken order by taken.id;
      end $$;`,
  },
]
