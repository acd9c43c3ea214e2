import { allMigrations } from '../compose/migrations.ts'
import { openDatabase } from '../compose/open-database.ts'
import { migrate } from '../database/migrate.ts'
import { EXIT } from './exit-codes.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

/** Makes or updates the tables; all steps or none. Safe to run at every start, and by several at once. */
export async function dbMigrate(options: GlobalOptions): Promise<number> {
  const database = await openDatabase(loadCliConfig(options), 'sevbus db migrate')
  try {
    const applied = await migrate(database, allMigrations)
    if (options.json) printJson({ database: database.description, applied })
    else
      print(
        applied.length > 0
          ? `${database.description}: applied ${applied.join(', ')}`
          : `${database.description}: up to date`,
      )
    return EXIT.OK
  } finally {
    await database.close()
  }
}
