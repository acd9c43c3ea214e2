import pg from 'pg'
import { DatabaseUnavailable, InvalidConfiguration, SevbusError } from '../errors.ts'
import type { Database, Queryable } from './database.ts'
import { INT8_OID, parseInt8 } from './int8.ts'
import { isNotAsKept, keptAs } from './kept-statement.ts'
import { sqlState } from './sql-state.ts'
import { retryTransaction, runBody } from './transactions.ts'

export interface PostgresOptions {
  /** `postgresql://user:password@host:5432/database`; anything else of libpq's URL works too. */
  readonly url: string
  /** Connections at most; each serves one statement or transaction at a time. */
  readonly poolSize?: number
  /** How operators find us in `pg_stat_activity`. */
  readonly applicationName?: string
  /** A statement that takes longer is cancelled. */
  readonly statementTimeoutMs?: number
  /** Longest wait for a connection: to be made, or to become free. */
  readonly connectTimeoutMs?: number
}

/**
 * Opens a pool of connections to a PostgreSQL server (15 or later), and asks it for its version.
 *
 * @throws InvalidConfiguration when the URL is none of PostgreSQL's
 * @throws DatabaseUnavailable naming host, port and database, never the password
 */
export async function openPostgres(options: PostgresOptions): Promise<Database> {
  const server = serverName(options.url)
  const statementTimeoutMs = options.statementTimeoutMs ?? 30_000
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize ?? 10,
    application_name: options.applicationName ?? 'sevbus',
    statement_timeout: statementTimeoutMs,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    // A worker that was killed mid-transaction must not hold its locks for hours.
    idle_in_transaction_session_timeout: statementTimeoutMs,
    keepAlive: true,
    types: { getTypeParser },
  })
  // An idle connection that breaks is replaced at the next use; without a listener it would end the process.
  pool.on('error', () => {})
  const database = new PostgresDatabase(pool, server)
  try {
    const [row] = await database.query<{ server_version: string }>('show server_version')
    return new PostgresDatabase(pool, `PostgreSQL ${row?.server_version.split(' ')[0]} at ${server}`)
  } catch (error) {
    await pool.end()
    throw error instanceof SevbusError ? error : unavailable(server, error)
  }
}

class PostgresDatabase implements Database {
  readonly description: string
  readonly #pool: pg.Pool
  /** False once a session had not what it was to keep: then a pooler is between, and the next has not, either. */
  #keeps = true

  constructor(pool: pg.Pool, description: string) {
    this.#pool = pool
    this.description = description
  }

  async query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]) {
    try {
      return await this.#run<Row>(this.#pool, sql, params)
    } catch (error) {
      if (!isNotAsKept(error)) throw error
      return await this.#run<Row>(this.#pool, sql, params)
    }
  }

  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return retryTransaction(() => this.#transactOnce(work))
  }

  async close(): Promise<void> {
    if (!this.#pool.ended && !this.#pool.ending) await this.#pool.end()
  }

  async #transactOnce<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw unavailable(this.description, error)
    })
    let broken = false
    const onError = () => {
      broken = true
    }
    client.on('error', onError)
    const tx: Queryable = { query: (sql, params) => this.#run(client, sql, params) }
    try {
      await tx.query('begin')
      const result = await runBody(tx, work)
      await tx.query('commit')
      return result
    } catch (error) {
      await client.query('rollback').catch(onError)
      throw error
    } finally {
      client.off('error', onError)
      client.release(broken)
    }
  }

  async #run<Row extends object>(on: pg.Pool | pg.PoolClient, sql: string, params?: readonly unknown[]) {
    try {
      // Without parameters the simple protocol is used, which takes several statements and gives as many results.
      const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] =
        params === undefined
          ? await on.query<Row>(sql)
          : await on.query<Row>({ text: sql, values: [...params], ...(this.#keeps && named(sql)) })
      return (Array.isArray(result) ? result.at(-1) : result)?.rows ?? []
    } catch (error) {
      if (isNotAsKept(error)) this.#keeps = false
      throw isUnavailable(error) ? unavailable(this.description, error) : error
    }
  }
}

function named(sql: string): { readonly name: string } | undefined {
  const name = keptAs(sql)
  return name === undefined ? undefined : { name }
}

/**
 * SQLSTATEs that say "not now" instead of "not so": connection (08), no resources (53), operator intervention (57, a
 * statement timeout is one), credentials (28), no such database (3D), a standby that takes no writes (25006), and a
 * transaction left idle too long (25P03).
 */
const NOT_NOW = /^(08|53|57|28|3D)|^25006$|^25P03$/

function isUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== undefined && error instanceof pg.DatabaseError) return NOT_NOW.test(state)
  // What the engine raised is a DatabaseError; a RangeError is our own parser; the rest is the driver or the socket.
  return !(error instanceof pg.DatabaseError) && !(error instanceof RangeError) && !(error instanceof TypeError)
}

function unavailable(where: string, error: unknown): DatabaseUnavailable {
  const cause = error instanceof AggregateError ? error.errors[0] : error
  const problem = cause instanceof Error ? cause.message : String(cause)
  return new DatabaseUnavailable(
    `${where}: ${problem}`,
    { sqlstate: sqlState(error) ?? null, fix: 'check that the PostgreSQL server runs and that database.url is right' },
    { cause: error },
  )
}

function getTypeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === INT8_OID && format !== 'binary') return parseInt8
  return pg.types.getTypeParser(oid, format ?? 'text')
}

/**
 * `host:port/database`, and nothing of the credentials: where a `/`, `?` or `#` of the password was left as it is, the
 * URL parses with the rest of the password in its path, so an `@` behind the host leaves all of it unsaid.
 */
function serverName(text: string): string {
  // Without a host between them libpq's URLs are right and WHATWG's are not: user:password@/database?host=/folder.
  const whole = text.replace('@/', '@localhost/')
  if (!URL.canParse(whole)) throw invalidUrl('is not a URL')
  const url = new URL(whole)
  if (!/^postgres(ql)?:$/.test(url.protocol) || !text.slice(url.protocol.length).startsWith('//'))
    throw invalidUrl('is not the URL of a PostgreSQL server')
  if (`${url.pathname}${url.hash}`.includes('@')) throw invalidUrl('has an @ behind its host')
  if (url.search.includes('@')) return 'the server of database.url'
  return `${url.searchParams.get('host') ?? (url.hostname || 'localhost')}:${url.port || 5432}${url.pathname}`
}

/** Tells no part of it: any may be of the password. */
function invalidUrl(problem: string): InvalidConfiguration {
  return new InvalidConfiguration(`database.url: it ${problem}`, {
    field: 'database.url',
    fix: 'write postgresql://user:password@host:5432/database; in user and password, / @ : ? # and % as %2F %40 %3A %3F %23 and %25',
  })
}
