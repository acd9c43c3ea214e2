import { randomUUID } from 'node:crypto'
import { afterAll, inject } from 'vitest'
import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import type { Migration } from '../../src/database/migration.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import { openEmbeddedCopy } from './embedded-copy.ts'

interface TestDatabase extends AsyncDisposable {
  readonly database: Database
  /** A second way in, as another process has it; the same session where the engine has only one. */
  connect(): Promise<Database>
}

export interface DatabaseEngine {
  readonly name: string
  /** Does it run transactions at the same time? */
  readonly concurrent: boolean
  /** A database with these tables and nothing in them. One at a time in a test file. */
  open(migrations: readonly Migration[]): Promise<TestDatabase>
}

const pglite: DatabaseEngine = {
  name: 'PGlite',
  concurrent: false,
  async open(migrations) {
    embedded ??= openEmbeddedCopy()
    const database = await embedded
    await empty(database, migrations)
    return { database, connect: async () => database, [Symbol.asyncDispose]: async () => {} }
  },
}

const postgres: DatabaseEngine = {
  name: 'PostgreSQL',
  concurrent: true,
  async open(migrations) {
    served ??= createDatabase()
    const url = await served
    const open: Database[] = []
    const connect = async () => {
      const database = await openPostgres({ url, poolSize: 20 })
      open.push(database)
      return database
    }
    const database = await connect()
    await empty(database, migrations)
    return {
      database,
      connect,
      async [Symbol.asyncDispose]() {
        await Promise.all(open.map((one) => one.close()))
      },
    }
  },
}

// One database of each engine for the test file, emptied for each test: that takes milliseconds.
let embedded: ReturnType<typeof openEmbeddedCopy> | undefined
let served: Promise<string> | undefined

afterAll(async () => {
  await (await embedded)?.[Symbol.asyncDispose]()
  if (served !== undefined) await administer(`drop database ${new URL(await served).pathname.slice(1)} with (force)`)
})

async function empty(database: Database, migrations: readonly Migration[]): Promise<void> {
  await database.query('drop schema public cascade; create schema public')
  await migrate(database, migrations)
}

/** @returns its URL */
async function createDatabase(): Promise<string> {
  const name = `sevbus_test_${randomUUID().replaceAll('-', '')}`
  await administer(`create database ${name}`)
  const url = new URL(inject('databaseUrl'))
  url.pathname = `/${name}`
  return url.href
}

async function administer(sql: string): Promise<void> {
  const server = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })
  try {
    await server.query(sql)
  } finally {
    await server.close()
  }
}

/** For `describe.each(databaseEngines)('… on $name', ({ open }) => …)`: one specification, both engines. */
export const databaseEngines: readonly DatabaseEngine[] = [pglite, postgres]
