import type { Database, Queryable } from '../../src/database/database.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'

/**
 * What becomes of a statement.
 * - `done`: it runs, and its answer arrives
 * - `refused`: it never reaches the database
 * - `broken`: the connection is lost in the middle of it, and all is undone
 * - `answer lost`: it is done, and nobody is told
 */
export type Fate = 'done' | 'refused' | 'broken' | 'answer lost'

/** A statement or transaction that waits for its turn. */
export interface Waiting {
  readonly owner: string
  /** How it begins: for the trace, and to know what is looked at. */
  readonly what: string
  /** False: its process has died, and nobody hears the answer any more. */
  isHeard: boolean
  run(fate: Fate): Promise<void>
}

/**
 * A connection to the database that does nothing by itself: each statement, and each transaction as a whole, waits until
 * the simulation gives it its turn, and ends as the simulation wants.
 */
export class GatedDatabase implements Database {
  readonly description = 'simulated'
  readonly #engine: Database
  readonly #owner: string
  readonly #waiting: Waiting[]
  #isAlive = true

  /** @param waiting where its statements are put */
  constructor(engine: Database, owner: string, waiting: Waiting[]) {
    this.#engine = engine
    this.#owner = owner
    this.#waiting = waiting
  }

  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]) {
    const run = (isBroken: boolean) => {
      if (isBroken) throw unavailable('the connection was lost')
      return this.#engine.query<Row>(sql, params)
    }
    return this.#wait(sql, run)
  }

  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return this.#wait('transaction', (isBroken) =>
      this.#engine.transaction(async (tx) => {
        const result = await work(tx)
        if (isBroken) throw unavailable('the connection was lost before the commit')
        return result
      }),
    )
  }

  /** The process is killed: what it sent may still be done, but it never hears of it, and sends nothing more. */
  die(): void {
    this.#isAlive = false
    for (const one of this.#waiting) if (one.owner === this.#owner) one.isHeard = false
  }

  async close(): Promise<void> {}

  #wait<T>(sql: string, run: (isBroken: boolean) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#isAlive) return
      const waiting: Waiting = {
        owner: this.#owner,
        what: sql.replace(/\s+/g, ' ').slice(0, 60),
        isHeard: true,
        run: async (fate) => {
          const told = await outcome(fate, run)
          if (!waiting.isHeard) return
          if ('result' in told) resolve(told.result)
          else reject(told.error)
        },
      }
      this.#waiting.push(waiting)
    })
  }
}

async function outcome<T>(fate: Fate, run: (isBroken: boolean) => Promise<T>) {
  try {
    if (fate === 'refused') throw unavailable('it does not answer')
    const result = await run(fate === 'broken')
    if (fate === 'answer lost') throw unavailable('the connection was lost')
    return { result }
  } catch (error) {
    return { error }
  }
}

function unavailable(problem: string): DatabaseUnavailable {
  return new DatabaseUnavailable(`the simulated database: ${problem}`)
}
