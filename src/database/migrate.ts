import { createHash } from 'node:crypto'
import { DatabaseSchemaMismatch, SevbusError } from '../errors.ts'
import type { Database, Queryable } from './database.ts'
import type { Migration } from './migration.ts'
import { sqlState } from './sql-state.ts'

/** Any number that no other program uses on this database: workers that start at once take turns on it. */
const MIGRATION_LOCK = 7_383_827_001

const CREATE_LEDGER = `
  create table if not exists sevbus_migrations (
    id         text primary key,
    checksum   text not null,
    applied_at timestamptz not null default now()
  )`

/**
 * Brings the tables to this release, all steps or none; does nothing when they are there. Several workers may ask at
 * once. Give the migrations of all services together: one that the database has and the list has not is a mismatch.
 *
 * @returns ids of what was applied now
 * @throws DatabaseSchemaMismatch when the database is of a newer release, or an applied migration was edited since
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<readonly string[]> {
  if ((await pendingMigrations(database, migrations)).length === 0) return []
  return database.transaction(async (tx) => {
    // Waiting for the turn, or filling a new column, may take longer than any other statement may.
    await tx.query('set local statement_timeout = 0')
    await tx.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    await tx.query(CREATE_LEDGER)
    const pending = await pendingMigrations(tx, migrations)
    for (const migration of pending) await apply(tx, migration)
    return pending.map(({ id }) => id)
  })
}

/**
 * What `migrate` would apply, in order; changes nothing.
 *
 * @throws DatabaseSchemaMismatch
 */
export async function pendingMigrations(
  database: Queryable,
  migrations: readonly Migration[],
): Promise<readonly Migration[]> {
  const applied = await appliedMigrations(database)
  refuseUnknown(applied, migrations)
  refuseEdited(applied, migrations)
  return migrations.filter(({ id }) => !applied.has(id))
}

async function appliedMigrations(database: Queryable): Promise<ReadonlyMap<string, string>> {
  const [ledger] = await database.query<{ exists: boolean }>(
    `select to_regclass('sevbus_migrations') is not null as exists`,
  )
  if (!ledger?.exists) return new Map()
  const rows = await database.query<{ id: string; checksum: string }>('select id, checksum from sevbus_migrations')
  return new Map(rows.map(({ id, checksum }) => [id, checksum]))
}

async function apply(tx: Queryable, { id, sql }: Migration): Promise<void> {
  try {
    await tx.query(sql)
  } catch (error) {
    // What may succeed at another moment goes on as it is: unavailable, or to be tried again.
    if (error instanceof SevbusError || sqlState(error)?.startsWith('40')) throw error
    throw new DatabaseSchemaMismatch(
      `migration ${id} cannot be applied, and nothing was: ${(error as Error).message}`,
      { migration: id, sqlstate: sqlState(error) ?? null, fix: 'use a database of its own for sevbus' },
      { cause: error },
    )
  }
  await tx.query('insert into sevbus_migrations (id, checksum) values ($1, $2)', [id, checksum(sql)])
}

function refuseUnknown(applied: ReadonlyMap<string, string>, migrations: readonly Migration[]): void {
  const known = new Set(migrations.map(({ id }) => id))
  const unknown = [...applied.keys()].filter((id) => !known.has(id)).sort()
  if (unknown.length === 0) return
  throw new DatabaseSchemaMismatch(`the database has migrations that this release does not know: ${unknown}`, {
    unknown,
    fix: 'run the release that made them, or a newer one; or give this one a database of its own',
  })
}

function refuseEdited(applied: ReadonlyMap<string, string>, migrations: readonly Migration[]): void {
  const edited = migrations.filter(({ id, sql }) => applied.has(id) && applied.get(id) !== checksum(sql))
  if (edited.length === 0) return
  const ids = edited.map(({ id }) => id)
  throw new DatabaseSchemaMismatch(`the database was migrated by another text of: ${ids}`, {
    edited: ids,
    fix: 'run the release that migrated it; a released migration is never edited, a later one changes what it made',
  })
}

function checksum(sql: string): string {
  return createHash('sha256').update(sql).digest('hex')
}
