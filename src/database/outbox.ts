import {
  type Backlog,
  type Backlogged,
  type DurableMessage,
  type Lease,
  type MessageStore,
  numbered,
  type StoredMessage,
} from '../rpc/durable-message.ts'
import { plainArray, Texts } from './array-literal.ts'
import type { Database, Queryable } from './database.ts'
import { kept } from './kept-statement.ts'

export interface OutboxOptions {
  /** Whose messages these are: services that share the table never take each other's. */
  readonly owner: string
  /** How long a sender has a message to itself, unless it says that it is still at it: what one that was killed had waits as long. */
  readonly leaseMs?: number
}

/** Of a message that `outbox_put` has stored: its id if it was taken, and its number if it has one. */
export type StoredAs = readonly [id: string | null, number: number | null]

/** A numbered message as it was sent, or will be. */
export interface KeptMessage {
  readonly number: number
  readonly body: string
}

/** The one of a key that has the highest number. */
interface LastMessage {
  readonly ordering_key: string
  readonly number: number
  /** Null: it is kept no more. */
  readonly body: string | null
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
    await tx.query(PUT, [this.#owner, ...toStore(messages), delayMs])
  }

  /**
   * Arguments of `outbox_put(owner, messages, bodies, lease)`, beside those of `toStore`, for a statement that stores more than
   * messages: it stores them as `enqueue` does, and takes for the caller those of keys that have nothing waiting.
   */
  get storing(): { readonly owner: string; readonly leaseMs: number } {
    return { owner: this.#owner, leaseMs: this.#leaseMs }
  }

  async take(limit: number): Promise<readonly StoredMessage[]> {
    const rows = await this.#database.query<Taken>(TAKE, [this.#owner, limit, this.#leaseMs])
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
             from (select id from outbox where id = any($2::bigint[]) and (owner = $1) is true for update skip locked) as held
            where outbox.id = held.id`,
          [this.#owner, [...ids], this.#leaseMs],
        )
      },
    }
  }

  async sent(ids: readonly string[]): Promise<boolean> {
    const [row] = await this.#database.query<{ some_wait: boolean }>(FORGET, [this.#owner, plainArray(ids)])
    return row?.some_wait ?? false
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

  /** The numbered message that was stored last of each of these keys; of those that never had one nothing. */
  async lastOf(orderingKeys: readonly string[]): Promise<readonly LastMessage[]> {
    return this.#database.query<LastMessage>(
      `select ordering_key, last::integer as number, coalesce(
              (select body from outbox_sent m
                where m.owner = series.owner and m.ordering_key = series.ordering_key and m.number = series.last),
              (select body from outbox m
                where m.owner = series.owner and m.ordering_key = series.ordering_key and m.number = series.last
                order by id limit 1)) as body
         from outbox_series series where owner = $1 and ordering_key = any($2)`,
      [this.#owner, new Texts(orderingKeys)],
    )
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

const PUT = kept('select outbox_put($1, $2::jsonb, $3, null, $4)')
const TAKE = kept('select * from outbox_take($1, $2, $3)')
const FORGET = kept('select outbox_forget($1, $2) as some_wait')

interface Taken {
  readonly id: string
  readonly failures: number
  readonly ordering_key: string
  readonly destination: DurableMessage['to']
  readonly body: string
  readonly mandatory: boolean
  readonly headers: NonNullable<DurableMessage['headers']> | null
}

/**
 * Messages as `outbox_put` takes them.
 *
 * @param about the uuid of what each is about, for a statement that knows only then which of them are to be stored
 */
export function toStore(
  messages: readonly DurableMessage[],
  about: readonly string[] = [],
): readonly [messages: string, bodies: Texts] {
  const rows = messages.map(({ orderingKey, to, mandatory, headers, numberMark }, n) => ({
    ...{ ordering_key: orderingKey, destination: to, mandatory, headers: headers ?? null },
    ...{ number_mark: numberMark, about: about[n] },
  }))
  return [JSON.stringify(rows), new Texts(messages.map(({ body }) => body))]
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
