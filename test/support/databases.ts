import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import type { Migration } from '../../src/database/migration.ts'
import { openPglite } from '../../src/database/pglite.ts'
import { openPostgres } from '../../src/database/postgres.ts'

interface TestDatabase extends AsyncDisposable {
  readonly database: Database
  /** A second way in, as another process has it; the same session where the engine has only one. */
  connect(): Promise<Database>
}

export interface DatabaseEngine {
  readonly name: string
  /** Does it run transactions at the same time? */
  readonly concurrent: boolean
  /** A database of its own with these tables; gone when disposed. */
  open(migrations: readonly Migration[]): Promise<TestDatabase>
}

const pglite: DatabaseEngine = {
  name: 'PGlite',
  concurrent: false,
  async open(migrations) {
    const database = await sharedPglite()
    // A fresh schema takes 5 ms, a fresh engine 3 s.
    await database.query('drop schema public cascade; create schema public')
    await migrate(database, migrations)
    return { database, connect: async () => database, [Symbol.asyncDispose]: async () => {} }
  },
}

let shared: Promise<Database> | undefined

/** One engine for the test file: each takes some 100 MB. */
function sharedPglite(): Promise<Database> {
  shared ??= openPglite()
  return shared
}

const postgres: DatabaseEngine = {
  name: 'PostgreSQL',
  concurrent: true,
  async open(migrations) {
    const name = `sevbus_test_${randomUUID().replaceAll('-', '')}`
    const url = new URL(inject('databaseUrl'))
    await administer(url, `create database ${name}`)
    url.pathname = `/${name}`
    const open: Database[] = []
    const connect = async () => {
      const database = await openPostgres({ url: url.href, poolSize: 20 })
      open.push(database)
      return database
    }
    const database = await connect()
    await migrate(database, migrations)
    return {
      database,
      connect,
      async [Symbol.asyncDispose]() {
        await Promise.all(open.map((one) => one.close()))
        await administer(new URL(inject('databaseUrl')), `drop database ${name} with (force)`)
      },
    }
  },
}

async function administer(url: URL, sql: string): Promise<void> {
  const server = await openPostgres({ url: url.href, poolSize: 1 })
  try {
    await server.query(sql)
  } finally {
    await server.close()
  }
}

/** For `describe.each(databaseEngines)('… on $name', ({ open }) => …)`: one specification, both engines. */
export const databaseEngines: readonly DatabaseEngine[] = [pglite, postgres]
