import type { Backlog, Backlogged, DurableMessage, MessageStore, StoredMessage } from '../rpc/durable-message.ts'
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
]

export interface OutboxOptions {
  /** Whose messages these are: services that share the table never take each other's. */
  readonly owner: string
  /** How long a sender has a message to itself. Longer than a publish with its confirm may take. */
  readonly leaseMs?: number
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

  constructor(database: Database, { owner, leaseMs = 15_000 }: OutboxOptions) {
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
    await tx.query(
      `insert into outbox (owner, ordering_key, destination, body, mandatory, headers, not_before)
       select $1, m.ordering_key, m.destination, m.body, m.mandatory, m.headers, now() + $3 * interval '1 millisecond'
         from rows from (jsonb_to_recordset($2::jsonb)
                as (ordering_key text, destination jsonb, body text, mandatory boolean, headers jsonb))
              with ordinality as m (ordering_key, destination, body, mandatory, headers, position)
        order by m.position`,
      [this.#owner, JSON.stringify(messages.map(toRow)), delayMs],
    )
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

  async sent(ids: readonly string[]): Promise<boolean> {
    const rows = await this.#database.query<{ has_next: boolean }>(
      `delete from outbox where owner = $1 and id = any($2::bigint[])
       returning exists (select from outbox next where next.owner = outbox.owner
                            and next.ordering_key = outbox.ordering_key and next.id > outbox.id) as has_next`,
      [this.#owner, [...ids]],
    )
    return rows.some(({ has_next }) => has_next)
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

/** Those that the statement has taken for its caller, by what `outbox_store` returned for them. */
export function takenAtOnce(
  messages: readonly DurableMessage[],
  ids: readonly (string | null)[],
): readonly StoredMessage[] {
  return messages.flatMap((message, n) => {
    const id = ids[n]
    return id == null ? [] : [{ ...message, id, failures: 0 }]
  })
}

function toRow({ orderingKey, to, body, mandatory, headers }: DurableMessage): Row {
  return { ordering_key: orderingKey, destination: to, body, mandatory, headers: headers ?? null }
}
