import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseUnavailable } from '../errors.ts'
import type { Queryable } from './database.ts'
import { isNotAsKept } from './kept-statement.ts'
import { sqlState } from './sql-state.ts'

/** serialization_failure and deadlock_detected: PostgreSQL undid everything, and asks for another go. */
const TRY_AGAIN = new Set(['40001', '40P01'])
const TRIES = 6

/**
 * Runs a whole transaction again when PostgreSQL says that another go may succeed, or its session had not what it was to keep.
 *
 * @throws DatabaseUnavailable when it never did
 */
export async function retryTransaction<T>(once: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await once()
    } catch (error) {
      if (!TRY_AGAIN.has(sqlState(error) ?? '') && !isNotAsKept(error)) throw error
      if (tries === TRIES) {
        throw new DatabaseUnavailable(
          `a transaction was undone ${TRIES} times by concurrent ones; try again later`,
          { sqlstate: sqlState(error), fix: 'try again' },
          { cause: error },
        )
      }
      // Spread out those that collided, or they collide again.
      await sleep(2 ** tries * (1 + Math.random()))
    }
  }
}

/**
 * Runs the body of a transaction, and does not let it end well after a statement failed: PostgreSQL answers COMMIT of
 * such a transaction with a silent ROLLBACK.
 */
export async function runBody<T>(tx: Queryable, work: (tx: Queryable) => Promise<T>): Promise<T> {
  let failure: { readonly error: unknown } | undefined
  const watched: Queryable = {
    async query<Row extends object>(sql: string, params?: readonly unknown[]) {
      try {
        return await tx.query<Row>(sql, params)
      } catch (error) {
        failure ??= { error }
        throw error
      }
    },
  }
  const result = await work(watched)
  if (failure) throw failure.error
  return result
}
