import type { z } from 'zod'
import { Texts, textArray } from '../database/array-literal.ts'
import type { Database, Queryable } from '../database/database.ts'
import { hot } from '../hot-schema.ts'
import { type AuditedPeriod, isWhole } from './audited-period.ts'
import { Followed } from './followed.ts'
import { type FactRow, namedFact, storedText } from './stored-fact.ts'
import { asUnread, clashOf, type Unread } from './unread.ts'
import { keyOf, UsageFact } from './usage-fact.ts'

export interface InstanceFacts {
  readonly instance_uuid: string
  readonly facts: readonly UsageFact[]
}

/** A sender has given one id to what it tells of several instances. Each is billed: they may be as true as any. */
export interface SharedId {
  readonly message_id: string
  readonly instances: readonly string[]
}

/**
 * What is billed by: facts, each stored once by the id of its notification, and never changed. Everything else is worked
 * out from them when it is asked for, so a program that dies in between has nothing to repair.
 */
export class Ledger {
  readonly #database: Database

  readonly followed: Followed

  constructor(database: Database) {
    this.#database = database
    this.followed = new Followed(database)
  }

  /** All of it or nothing; what is there already is left as it is. @returns how many facts were new */
  async store(facts: readonly UsageFact[], unread: readonly Unread[] = []): Promise<number> {
    if (facts.length + unread.length === 0) return 0
    const messageIds = new Texts(facts.map(({ message_id }) => message_id))
    return this.#database.transaction(async (tx) => {
      const [stored] = await tx.query<{ count: number }>(INSERT_FACTS, [
        new Texts(facts.map(({ instance_uuid }) => instance_uuid)),
        messageIds,
        new Texts(facts.map(storedText)),
        textArray(facts.map(auditedBy)),
      ])
      // What could be read by now is no longer unread; mostly there is none, and to look is cheaper than to send all ids again.
      const [kept] = await tx.query('select from unread_notifications limit 1')
      if (kept !== undefined)
        await tx.query('delete from unread_notifications where message_id = any($1::text[])', [messageIds])
      const count = stored?.count ?? 0
      const clashes = count === facts.length ? [] : await this.#otherwise(tx, facts)
      // One statement inserts no row twice, and what differs may come twice as well.
      const all = new Map([...unread, ...clashes].map((each) => [each.message_id, each]))
      if (all.size > 0) await tx.query(INSERT_UNREAD, unreadColumns([...all.values()]))
      return count
    })
  }

  /** All instances with their facts, by uuid; a page of facts, and those of one instance, in memory at a time. */
  async *instances(pageSize = 2000): AsyncGenerator<InstanceFacts> {
    let current: { instance_uuid: string; facts: UsageFact[] } | undefined
    for await (const page of this.#pages(pageSize)) {
      for (const row of page) {
        const { instance_uuid } = row
        if (current !== undefined && current.instance_uuid !== instance_uuid) {
          yield current
          current = undefined
        }
        const read = hot(UsageFact).safeParse(namedFact(row))
        if (!read.success) {
          await this.#setAside(row, read.error)
          continue
        }
        current ??= { instance_uuid, facts: [] }
        current.facts.push(read.data)
      }
    }
    if (current !== undefined) yield current
  }

  /** One that an earlier release took in and that no bill can be made of: named, rather than in everybody's way. */
  async #setAside(row: FactRow, { issues }: z.ZodError): Promise<void> {
    const { instance_uuid, message_id } = row
    const reason = `fact: ${issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`
    const aside = asUnread(namedFact(row), message_id, reason)
    await this.#database.transaction(async (tx) => {
      await tx.query(INSERT_UNREAD, unreadColumns([aside]))
      await tx.query('delete from usage_facts where instance_uuid = $1 and message_id = $2', [
        instance_uuid,
        message_id,
      ])
    })
  }

  /** What was stored under an id stays; what comes later with other contents is kept beside it. */
  async #otherwise(tx: Queryable, facts: readonly UsageFact[]): Promise<readonly Unread[]> {
    const rows = await tx.query<FactRow>(
      `select instance_uuid, message_id, fact from usage_facts
        where (instance_uuid, message_id) in (select * from unnest($1::text[], $2::text[]))`,
      [
        new Texts(facts.map(({ instance_uuid }) => instance_uuid)),
        new Texts(facts.map(({ message_id }) => message_id)),
      ],
    )
    const stored = new Map(rows.map((row) => [keyOf(row), namedFact(row) as unknown as UsageFact]))
    return facts.flatMap((fact) => {
      const before = stored.get(keyOf(fact))
      return before === undefined ? [] : clashOf(before, fact)
    })
  }

  /** In the order of the primary key, which the database need not sort for. */
  async *#pages(pageSize: number): AsyncGenerator<readonly FactRow[]> {
    for (let last: readonly string[] = ['', '']; ; ) {
      const rows = await this.#database.query<FactRow>(
        `select instance_uuid, message_id, fact from usage_facts
          where (instance_uuid, message_id) > ($1, $2) order by instance_uuid, message_id limit $3`,
        [...last, pageSize],
      )
      yield rows
      const end = rows.at(-1)
      if (end === undefined) return
      last = [end.instance_uuid, end.message_id]
    }
  }

  /** Looked for when it is asked: an index of all ids would cost each fact as much as the fact. */
  async sharedIds(limit = 1000): Promise<readonly SharedId[]> {
    return this.#database.query(
      `with shared as (select message_id from usage_facts group by message_id having count(*) > 1 order by 1 limit $1)
       select message_id, array_agg(instance_uuid order by instance_uuid) as instances
         from usage_facts join shared using (message_id) group by message_id order by message_id`,
      [limit],
    )
  }

  async auditedPeriods(): Promise<readonly AuditedPeriod[]> {
    const rows = await this.#database.query<{ audited: string }>(
      'select distinct audited from usage_facts where audited is not null order by 1',
    )
    return rows.map(({ audited }): AuditedPeriod => JSON.parse(audited)).filter(isWhole)
  }

  /** Oldest first. */
  async unread(limit = 1000): Promise<readonly { message_id: string; event_type: string; reason: string }[]> {
    return this.#database.query(
      'select message_id, event_type, reason from unread_notifications order by stored_at, message_id limit $1',
      [limit],
    )
  }

  /** Those notifications themselves, to be read once more by a release that can. */
  async unreadNotifications(limit: number): Promise<readonly unknown[]> {
    const rows = await this.#database.query<{ notification: string }>(
      'select notification from unread_notifications order by stored_at, message_id limit $1',
      [limit],
    )
    return rows.map(({ notification }) => JSON.parse(notification))
  }
}

const INSERT_FACTS = `
  with stored as (
    insert into usage_facts (instance_uuid, message_id, fact, audited)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
        on conflict do nothing returning 1)
  select count(*)::integer as count from stored`

function auditedBy({ period, of_operation, charged: { host } }: UsageFact): string | null {
  return period && !of_operation && isWhole(period) ? JSON.stringify({ host, ...period }) : null
}

const INSERT_UNREAD = `
  insert into unread_notifications (message_id, event_type, reason, notification)
  select message_id, event_type, reason, notification
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as t (message_id, event_type, reason, notification)
  on conflict (message_id) do update set event_type = excluded.event_type, reason = excluded.reason`

function unreadColumns(unread: readonly Unread[]): string[][] {
  return [
    unread.map(({ message_id }) => message_id),
    unread.map(({ event_type }) => event_type),
    unread.map(({ reason }) => reason),
    unread.map(({ notification }) => JSON.stringify(notification)),
  ]
}
