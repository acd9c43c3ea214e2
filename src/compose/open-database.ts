import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { pendingMigrations } from '../database/migrate.ts'
import { openPostgres } from '../database/postgres.ts'
import { DatabaseSchemaMismatch, DatabaseUnavailable, InvalidConfiguration } from '../errors.ts'
import { allMigrations } from './migrations.ts'

const RETRY_MS = 1000

/** @throws InvalidConfiguration when none is configured */
export function databaseUrl({ database }: Pick<Config, 'database'>): string {
  if (database.url === undefined) {
    throw new InvalidConfiguration('database.url is missing; conductor and scheduler need a PostgreSQL database', {
      field: 'database.url',
      fix: 'set database.url in the configuration file, SEVBUS_DATABASE_URL or SEVBUS_DATABASE_URL_FILE; or try everything without one: sevbus dev',
    })
  }
  return database.url
}

/** @throws InvalidConfiguration without a URL, DatabaseUnavailable when it does not answer now */
export async function openDatabase({ database }: Pick<Config, 'database'>, who: string): Promise<Database> {
  const url = databaseUrl({ database })
  return openPostgres({ url, poolSize: database.pool_size, applicationName: who })
}

/**
 * Waits for the database and its tables: a worker may start before both. Says once why it waits, and when it is over.
 * @throws the signal's reason, or a mismatch that waiting does not mend
 */
export async function waitForDatabase(
  config: Config,
  who: string,
  logger: Logger,
  signal: AbortSignal,
): Promise<Database> {
  let said: string | undefined
  for (;;) {
    const waiting = await attempt(config, who)
    if ('database' in waiting) {
      if (said !== undefined) logger.info({ database: waiting.database.description }, 'the database is there')
      return waiting.database
    }
    if (waiting.reason !== said) logger.warn(`waiting: ${waiting.reason}`)
    said = waiting.reason
    await sleep(RETRY_MS, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

async function attempt(config: Config, who: string): Promise<{ database: Database } | { reason: string }> {
  let database: Database
  try {
    database = await openDatabase(config, who)
  } catch (error) {
    if (error instanceof DatabaseUnavailable) return { reason: error.message }
    throw error
  }
  try {
    const pending = await pendingMigrations(database, allMigrations)
    if (pending.length === 0) return { database }
    await database.close()
    return {
      reason: `the database has no tables of this release yet (${pending.length} migrations); run: sevbus db migrate`,
    }
  } catch (error) {
    await database.close()
    if (error instanceof DatabaseUnavailable && !(error instanceof DatabaseSchemaMismatch))
      return { reason: error.message }
    throw error
  }
}
