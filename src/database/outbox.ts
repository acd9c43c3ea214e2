import {
  type Backlog,
  type Backlogged,
  type DurableMessage,
  type Lease,
  type MessageStore,
  numbered,
  type StoredMessage,
} from '../rpc/durable-message.ts'
import type { Database, Queryable } from './database.ts'
import type { Migration } from './migration.ts'

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
]

export interface OutboxOptions {
  /** Whose messages these are: services that share the table never take each other's. */
  readonly owner: string
  /** How long a sender has a message to itself, unless it says that it is still at it: what one that was killed had waits as long. */
  readonly leaseMs?: number
}

/** Of a message that `outbox_store` has stored: its id if it was taken, and its number if it has one. */
export type StoredAs = readonly [id: string | null, number: number | null]

/** A numbered message as it was sent, or will be. */
export interface KeptMessage {
  readonly number: number
  readonly body: string
}

/** Numbers of a key, both ends among them. */
export interface NumberSpan {
  readonly from: number
  readonly to: number
}

/**
 * Messages that are stored in the transaction that decided them, and wait there for a relay.
 *
 * Any number of relays in any number of processes may take from it. Messages of one key leave in the order of their
 * ids; who stores two of one key in concurrent transactions has to decide their order itself, by locking the row that
 * the key names first.
 */
export class DatabaseOutbox implements MessageStore, Backlogged {
  readonly #database: Database
  readonly #owner: string
  readonly #leaseMs: number

  constructor(database: Database, { owner, leaseMs = 4_000 }: OutboxOptions) {
    this.#database = database
    this.#owner = owner
    this.#leaseMs = leaseMs
  }

  /**
   * Stores messages as part of `tx`: they exist when it commits. Announce them to the relay after that.
   *
   * @param options.delayMs not sent sooner. Order is per key, so it holds back its key: younger messages of the same key
   *   wait behind it, those of other keys do not
   */
  async enqueue(
    tx: Queryable,
    messages: readonly DurableMessage[],
    { delayMs = 0 }: { readonly delayMs?: number } = {},
  ): Promise<void> {
    if (messages.length === 0) return
    await tx.query('select outbox_store($1, $2::jsonb, null, $3)', [
      this.#owner,
      JSON.stringify(messages.map(toRow)),
      delayMs,
    ])
  }

  /**
   * The arguments of `outbox_store(owner, messages, lease)`, for a statement that stores more than messages: it stores them as
   * `enqueue` does, and takes for the caller those that are the first of their key, as `take` would.
   */
  get storing(): { readonly owner: string; readonly leaseMs: number } {
    return { owner: this.#owner, leaseMs: this.#leaseMs }
  }

  async take(limit: number): Promise<readonly StoredMessage[]> {
    // A row that another relay is taking is skipped; one that it has taken meanwhile fails the check of not_before,
    // which PostgreSQL repeats on the row's newest version.
    const rows = await this.#database.query<Row & { id: string; failures: number }>(
      `with due as (
         select candidate.id from outbox candidate
          where candidate.owner = $1 and candidate.not_before <= now()
            and not exists (select from outbox older
                             where older.owner = candidate.owner and older.ordering_key = candidate.ordering_key
                               and older.id < candidate.id)
          order by candidate.not_before, candidate.id limit $2 for update skip locked
       ), taken as (
         update outbox set not_before = now() + $3 * interval '1 millisecond'
           from due where outbox.id = due.id
         returning outbox.id, outbox.ordering_key, outbox.destination, outbox.body, outbox.mandatory, outbox.headers,
                   outbox.failures
       )
       select id::text, ordering_key, destination, body, mandatory, headers, failures from taken order by taken.id`,
      [this.#owner, limit, this.#leaseMs],
    )
    return rows.map(({ id, ordering_key, destination, body, mandatory, headers, failures }) => ({
      id,
      failures,
      to: destination,
      body,
      mandatory,
      ...(headers !== null && { headers }),
      orderingKey: ordering_key,
    }))
  }

  /** What others have locked is being settled or taken: to wait for it would be to wait for nothing. */
  get lease(): Lease {
    return {
      ms: this.#leaseMs,
      renew: async (ids) => {
        await this.#database.query(
          `update outbox set not_before = now() + $3 * interval '1 millisecond'
             from (select id from outbox where owner = $1 and id = any($2::bigint[]) for update skip locked) as held
            where outbox.id = held.id`,
          [this.#owner, [...ids], this.#leaseMs],
        )
      },
    }
  }

  async sent(ids: readonly string[]): Promise<boolean> {
    const rows = await this.#database.query<{ has_next: boolean }>(
      `with gone as (
         delete from outbox where owner = $1 and id = any($2::bigint[])
         returning *, exists (select from outbox next where next.owner = outbox.owner
                                 and next.ordering_key = outbox.ordering_key and next.id > outbox.id) as has_next
       ), kept as (
         insert into outbox_sent (owner, ordering_key, number, destination, body, headers)
         select owner, ordering_key, number, destination, body, headers from gone where number is not null
             on conflict do nothing
       )
       select has_next from gone`,
      [this.#owner, [...ids]],
    )
    return rows.some(({ has_next }) => has_next)
  }

  /** Those of a key whose numbers are asked for, as far as they are still kept; at most `limit`, in their order. */
  async kept(orderingKey: string, { from, to }: NumberSpan, limit: number): Promise<readonly KeptMessage[]> {
    return this.#database.query<KeptMessage>(
      `select number::integer, body from (
         select number, body from outbox_sent where owner = $1 and ordering_key = $2 and number between $3 and $4
         union select number, body from outbox where owner = $1 and ordering_key = $2 and number between $3 and $4) m
        order by number limit $5`,
      [this.#owner, orderingKey, from, to, limit],
    )
  }

  /** Sends the same once more, to where it went. @returns how many */
  async sendAgain(orderingKey: string, { from, to }: NumberSpan): Promise<number> {
    const rows = await this.#database.query(
      `insert into outbox (owner, ordering_key, destination, body, mandatory, headers, number)
       select owner, ordering_key, destination, body, false, headers, number from outbox_sent
        where owner = $1 and ordering_key = $2 and number between $3 and $4 order by number
       returning 1`,
      [this.#owner, orderingKey, from, to],
    )
    return rows.length
  }

  /** The number that was given last; 0: none. */
  async lastNumber(orderingKey: string): Promise<number> {
    const [row] = await this.#database.query<{ last: number }>(
      'select last::integer from outbox_series where owner = $1 and ordering_key = $2',
      [this.#owner, orderingKey],
    )
    return row?.last ?? 0
  }

  /** Of what was sent so long ago; at most `limit` at a time. @returns how many */
  async forgetSent(olderThanMs: number, limit = 5000): Promise<number> {
    const rows = await this.#database.query(
      `delete from outbox_sent where ctid = any(array(
         select ctid from outbox_sent where owner = $1 and sent_at < now() - $2 * interval '1 millisecond'
          order by sent_at limit $3)) returning 1`,
      [this.#owner, olderThanMs, limit],
    )
    return rows.length
  }

  async backlog(): Promise<Backlog> {
    const [row] = await this.#database.query<{ messages: number; age: number | null }>(
      `select count(*)::integer as messages,
              extract(epoch from clock_timestamp() - min(stored_at))::double precision as age
         from outbox where owner = $1`,
      [this.#owner],
    )
    return { messages: row?.messages ?? 0, oldestAgeSeconds: row?.age ?? undefined }
  }

  async postpone(id: string, delayMs: number, reason: string): Promise<void> {
    await this.#database.query(
      `update outbox
          set not_before = now() + $3 * interval '1 millisecond', failures = failures + 1, last_failure = left($4, 1000)
        where owner = $1 and id = $2::bigint`,
      [this.#owner, id, delayMs, reason],
    )
  }
}

interface Row {
  readonly ordering_key: string
  readonly destination: DurableMessage['to']
  readonly body: string
  readonly mandatory: boolean
  readonly headers: NonNullable<DurableMessage['headers']> | null
}

/** As `outbox_store` takes them. */
export function outboxRows(messages: readonly DurableMessage[]): readonly object[] {
  return messages.map(toRow)
}

/** Those that the statement has taken for its caller, as they are sent, by what `outbox_store` returned for them. */
export function takenAtOnce(
  messages: readonly DurableMessage[],
  stored: readonly StoredAs[],
): readonly StoredMessage[] {
  return messages.flatMap((message, n) => {
    const [id, number] = stored[n] ?? [null, null]
    return id === null ? [] : [{ ...numbered(message, number), id, failures: 0 }]
  })
}

function toRow({ orderingKey, to, body, mandatory, headers, numberMark }: DurableMessage) {
  const row: Row = { ordering_key: orderingKey, destination: to, body, mandatory, headers: headers ?? null }
  return numberMark === undefined ? row : { ...row, number_mark: numberMark }
}
