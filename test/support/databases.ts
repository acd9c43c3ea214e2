import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import type { Database } from '../../src/database/database.ts'
import type { Migration } from '../../src/database/migration.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import { administer } from '../servers/made-databases.ts'
import { openEmbeddedCopy } from './embedded-copy.ts'
import { EmptyTables } from './empty-tables.ts'

interface TestDatabase extends AsyncDisposable {
  readonly database: Database
  /** A second way in, as another process has it; the same session where the engine has only one. */
  connect(): Promise<Database>
}

export interface DatabaseEngine {
  readonly name: string
  /** Does it run transactions at the same time? */
  readonly concurrent: boolean
  /** A database with these tables and nothing in them. One at a time in a process. */
  open(migrations: readonly Migration[]): Promise<TestDatabase>
}

const pglite: DatabaseEngine = {
  name: 'PGlite',
  concurrent: false,
  async open(migrations) {
    const database = await embedded()
    await embeddedTables.make(database, migrations)
    return { database, connect: async () => database, [Symbol.asyncDispose]: async () => {} }
  },
}

const postgres: DatabaseEngine = {
  name: 'PostgreSQL',
  concurrent: true,
  async open(migrations) {
    const url = await served()
    const open: Database[] = []
    const connect = async () => {
      const database = await openPostgres({ url, poolSize: 20 })
      open.push(database)
      return database
    }
    const database = await connect()
    await servedTables.make(database, migrations)
    return {
      database,
      connect,
      async [Symbol.asyncDispose]() {
        await Promise.all(open.map((one) => one.close()))
      },
    }
  },
}

// One database of each engine for the process, emptied for each test: that takes milliseconds. The run removes them when it ends.
const embedded = once(() => openEmbeddedCopy(inject('runFolder')))
const served = once(createDatabase)
const embeddedTables = new EmptyTables()
const servedTables = new EmptyTables()

/** Made at the first need; tried again at the next when that failed. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return async () => {
    made ??= make()
    try {
      return await made
    } catch (error) {
      made = undefined
      throw error
    }
  }
}

/** @returns its URL */
async function createDatabase(): Promise<string> {
  const name = `${inject('databasePrefix')}${randomUUID().replaceAll('-', '')}`
  await using server = await administer(inject('databaseUrl'))
  await server.query(`create database ${name}`)
  const url = new URL(inject('databaseUrl'))
  url.pathname = `/${name}`
  return url.href
}

/** For `describe.each(databaseEngines)('… on $name', ({ open }) => …)`: one specification, both engines. */
export const databaseEngines: readonly DatabaseEngine[] = [pglite, postgres]
