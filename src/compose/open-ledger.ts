import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Ledger } from '../billing/ledger.ts'
import { ledgerMigrations } from '../billing/ledger-schema.ts'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { migrate } from '../database/migrate.ts'
import { openPglite, PGLITE_FOLDER } from '../database/pglite.ts'
import { openPostgres } from '../database/postgres.ts'
import { LedgerNotFound } from '../errors.ts'

export interface OpenLedger extends AsyncDisposable {
  readonly ledger: Ledger
  readonly description: string
}

/** The ledger of `[bill]`, with its tables. @throws AlreadyInUse, DatabaseUnavailable, DatabaseSchemaMismatch */
export async function openLedger({ bill }: Pick<Config, 'bill'>): Promise<OpenLedger> {
  return withTables(await openDatabaseOf(bill))
}

/**
 * As above, where there is one: whoever asks for a bill in the wrong place must not be told of an empty month.
 * @throws LedgerNotFound
 */
export async function openExistingLedger({ bill }: Pick<Config, 'bill'>): Promise<OpenLedger> {
  const { database_url: url, folder } = bill
  if (url === undefined && !existsSync(join(folder, PGLITE_FOLDER, 'PG_VERSION'))) throw notFound(resolve(folder), bill)
  const database = await openDatabaseOf(bill)
  return withTables(database, async () => {
    const [row] = await database.query<{ is_there: boolean }>(
      `select to_regclass('usage_facts') is not null as is_there`,
    )
    if (!row?.is_there) throw notFound(database.description, bill)
  })
}

function notFound(place: string, { database_url: url }: Config['bill']): LedgerNotFound {
  const setting = url === undefined ? 'bill.folder' : 'bill.database_url'
  const fix = `give ${setting} as "sevbus bill run" has it, or fill one by "sevbus bill run" or "sevbus bill import"`
  return new LedgerNotFound(`there is no ledger in ${place}; ${fix}`, { setting, place, fix })
}

async function withTables(database: Database, look: () => Promise<void> = async () => {}): Promise<OpenLedger> {
  try {
    await look()
    await migrate(database, ledgerMigrations)
  } catch (error) {
    await database.close()
    throw error
  }
  return {
    ledger: new Ledger(database),
    description: database.description,
    [Symbol.asyncDispose]: () => database.close(),
  }
}

function openDatabaseOf({ database_url: url, folder }: Config['bill']): Promise<Database> {
  const instead = 'use a PostgreSQL server (bill.database_url) to run several processes'
  if (url === undefined) return openPglite({ folder, instead })
  return openPostgres({ url, poolSize: 4, applicationName: 'sevbus bill' })
}
