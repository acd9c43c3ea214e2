import { Ledger } from '../billing/ledger.ts'
import { ledgerMigrations } from '../billing/ledger-schema.ts'
import type { Config } from '../config.ts'
import type { Database } from '../database/database.ts'
import { migrate } from '../database/migrate.ts'
import { openPglite } from '../database/pglite.ts'
import { openPostgres } from '../database/postgres.ts'

export interface OpenLedger extends AsyncDisposable {
  readonly ledger: Ledger
  readonly description: string
}

/** The ledger of `[bill]`, with its tables. @throws AlreadyInUse, DatabaseUnavailable, DatabaseSchemaMismatch */
export async function openLedger({ bill }: Pick<Config, 'bill'>): Promise<OpenLedger> {
  const database = await openDatabaseOf(bill)
  try {
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
  if (url === undefined) return openPglite({ folder, urlSetting: 'bill.database_url' })
  return openPostgres({ url, poolSize: 4, applicationName: 'sevbus bill' })
}
