import type { Queryable } from '../../src/database/database.ts'
import type { Migration } from '../../src/database/migration.ts'
import { outboxMigrations } from '../../src/database/outbox-schema.ts'
import type { StoredFact } from './auditor.ts'

export const soakMigrations: readonly Migration[] = [
  ...outboxMigrations,
  {
    id: 'soak-0001',
    sql: `
      -- What senders have decided, in the transaction that stores the message of it.
      create table soak_facts (id text primary key, kind text not null, message_id text);
      -- Keys of orders that were carried out.
      create table soak_keys (id text primary key);
      -- What orders have done. Nothing keeps it from being done twice but the key.
      create table soak_effects (id text not null, server text not null);
    `,
  },
]

export async function insertFacts(tx: Queryable, facts: readonly StoredFact[]): Promise<void> {
  const rows = JSON.stringify(facts.map(({ id, kind, messageId }) => ({ id, kind, message_id: messageId })))
  await tx.query(
    `insert into soak_facts (id, kind, message_id)
     select id, kind, message_id from jsonb_to_recordset($1::jsonb) as (id text, kind text, message_id text)`,
    [rows],
  )
}

export async function readFacts(database: Queryable): Promise<readonly StoredFact[]> {
  const rows = await database.query<{ id: string; kind: 'order' | 'notification'; message_id: string | null }>(
    'select id, kind, message_id from soak_facts',
  )
  return rows.map(({ id, kind, message_id }) => ({ id, kind, messageId: message_id }))
}

/** As endpoints do it: the key and the effect in one transaction; who finds the key has nothing to do. */
export async function insertEffect(tx: Queryable, id: string, server: string): Promise<void> {
  const inserted = await tx.query('insert into soak_keys (id) values ($1) on conflict do nothing returning id', [id])
  if (inserted.length > 0) await tx.query('insert into soak_effects (id, server) values ($1, $2)', [id, server])
}

export async function readEffects(database: Queryable): Promise<readonly string[]> {
  return (await database.query<{ id: string }>('select id from soak_effects')).map(({ id }) => id)
}

/** How many stored messages no relay has sent yet. */
export async function unsent(database: Queryable): Promise<number> {
  const [row] = await database.query<{ count: number }>('select count(*)::int as count from outbox')
  return row?.count ?? 0
}
