/**
 * The port to a database: PostgreSQL's SQL, on two engines. `pglite.ts` runs inside the process (a folder or memory),
 * `postgres.ts` talks to a server. Only features of PostgreSQL 15 and parameters as `$1`.
 */
export interface Queryable {
  /** @throws DatabaseUnavailable when the engine does not answer; the engine's error (with SQLSTATE in `code`) else */
  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<readonly Row[]>
}

export interface Database extends Queryable {
  /** For messages to people, without password: `embedded PostgreSQL in ./data`, `PostgreSQL 15.18 at host:5432/sevbus`. */
  readonly description: string
  /**
   * Runs `work` in one transaction: committed when it returns, rolled back when it throws. Serialisation failures and
   * deadlocks (40001, 40P01), and a statement that was to be kept and is not, are tried again from the start, so `work` has
   * no effect but through `tx`.
   */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>
  close(): Promise<void>
}
