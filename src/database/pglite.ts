import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { PGlite, Transaction } from '@electric-sql/pglite'
import { DatabaseUnavailable } from '../errors.ts'
import { type FolderLock, lockFolder } from '../folder-lock.ts'
import { Texts } from './array-literal.ts'
import type { Database, Queryable } from './database.ts'
import { INT8_OID, parseInt8 } from './int8.ts'
import { readNewDatabase } from './new-database.ts'
import { sqlState } from './sql-state.ts'
import { retryTransaction, runBody } from './transactions.ts'

/** Of the data, in the folder that is given. */
export const PGLITE_FOLDER = 'pgdata'

const SERVER = 'use a PostgreSQL server (database.url) to run several processes'

export interface PgliteOptions {
  /** Where the data is kept, made when it is not there; in memory when left out. */
  readonly folder?: string
  /** What to do instead of sharing the folder with another process. */
  readonly instead?: string
}

/**
 * Opens PostgreSQL inside this process: 1.5 s for a new one, 1 s for an existing folder. One session, so statements queue
 * and a transaction holds up everything else: inside it use its `tx` only.
 *
 * It survives the death of the process; it does not fsync, so it may not survive a power cut.
 *
 * @throws AlreadyInUse when another process has the folder
 */
export async function openPglite({ folder, instead = SERVER }: PgliteOptions = {}): Promise<Database> {
  if (folder === undefined) return new PgliteDatabase(await start('memory://'), 'embedded PostgreSQL in memory')
  const lock = await lockFolder(folder, {
    what: 'the embedded database',
    fix: instead,
  })
  try {
    return new PgliteDatabase(await start(join(folder, PGLITE_FOLDER)), `embedded PostgreSQL in ${folder}`, lock)
  } catch (error) {
    lock.release()
    throw error
  }
}

/** Loaded only when used: 27 MB that a worker on a PostgreSQL server never needs. */
async function start(dataDir: string): Promise<PGlite> {
  const { PGlite } = await import('@electric-sql/pglite')
  const loadDataDir = existsSync(join(dataDir, 'PG_VERSION')) ? undefined : await readNewDatabase()
  return PGlite.create({ dataDir, parsers: { [INT8_OID]: parseInt8 }, ...(loadDataDir && { loadDataDir }) })
}

/** An empty one as a tar file, for `readNewDatabase`. */
export async function packNewDatabase(): Promise<Uint8Array> {
  const engine = await start('memory://')
  const packed = await engine.dumpDataDir('gzip')
  await engine.close()
  return new Uint8Array(await packed.arrayBuffer())
}

class PgliteDatabase implements Database {
  readonly description: string
  readonly #engine: PGlite
  readonly #lock: FolderLock | undefined
  #closing: Promise<void> | undefined

  constructor(engine: PGlite, description: string, lock?: FolderLock) {
    this.#engine = engine
    this.description = description
    this.#lock = lock
  }

  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]) {
    return this.#guarded(() => run<Row>(this.#engine, sql, params))
  }

  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return retryTransaction(() =>
      this.#guarded(() =>
        this.#engine.transaction((tx) => runBody({ query: (sql, params) => run(tx, sql, params) }, work)),
      ),
    )
  }

  close(): Promise<void> {
    this.#closing ??= this.#engine.close().finally(() => this.#lock?.release())
    return this.#closing
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw new DatabaseUnavailable(`${this.description} is closed`)
    try {
      return await work()
    } catch (error) {
      // Closed while this waited for its turn.
      if (this.#closing === undefined || sqlState(error) !== undefined) throw error
      throw new DatabaseUnavailable(`${this.description} is closed`, {}, { cause: error })
    }
  }
}

async function run<Row extends object>(on: PGlite | Transaction, sql: string, params?: readonly unknown[]) {
  // As in postgres.ts: without parameters there may be several statements, and the last result counts.
  if (params === undefined) return ((await on.exec(sql)).at(-1)?.rows ?? []) as unknown as readonly Row[]
  const taken = params.map((param) => (param instanceof Texts ? String(param) : param))
  return (await on.query<Row>(sql, taken)).rows
}
