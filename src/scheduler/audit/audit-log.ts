import type { Database } from '../../database/database.ts'
import type { AuditReport } from '../../objects/audit.ts'

/** What the last whole audit found, whoever made it. */
export interface AuditSummary {
  readonly ageSeconds: number
  readonly remaining: AuditReport['remaining']
  readonly notJudged: number
}

/** Which scheduler audits next, and what came of it: in the database, so that of many schedulers one does it at a time. */
export class AuditLog {
  readonly #database: Database
  readonly #holder: string

  /** @param holder another for each process */
  constructor(database: Database, holder: string) {
    this.#database = database
    this.#holder = holder
  }

  /**
   * Is an audit due, and is it ours to make? Then nobody else makes one until it is recorded, or the lease is over because
   * its holder died. All times are the database's.
   */
  async take(intervalSeconds: number, leaseSeconds: number): Promise<boolean> {
    const taken = await this.#database.query(
      `update last_audit set holder = $1, lease_until = now() + $3 * interval '1 second'
        where lease_until <= now()
          and coalesce(finished_at, '-infinity') <= now() - $2 * interval '1 second'
        returning holder`,
      [this.#holder, intervalSeconds, leaseSeconds],
    )
    return taken.length > 0
  }

  /** It came to nothing: another may try. */
  async giveUp(): Promise<void> {
    await this.#database.query(`update last_audit set lease_until = '-infinity' where holder = $1`, [this.#holder])
  }

  /** Of the whole cloud; ends our lease, if we have one. */
  async record({ remaining, not_judged_total }: AuditReport): Promise<void> {
    await this.#database.query(
      `update last_audit set finished_at = now(), result = $2::jsonb,
              lease_until = case when holder = $1 then '-infinity' else lease_until end`,
      [this.#holder, JSON.stringify({ remaining, not_judged: not_judged_total })],
    )
  }

  async last(): Promise<AuditSummary | undefined> {
    const [row] = await this.#database.query<Row>(
      `select extract(epoch from now() - finished_at)::double precision as age, result
         from last_audit where finished_at is not null`,
    )
    if (row === undefined) return undefined
    return { ageSeconds: row.age, remaining: row.result.remaining, notJudged: row.result.not_judged }
  }
}

interface Row {
  readonly age: number
  readonly result: { readonly remaining: AuditReport['remaining']; readonly not_judged: number }
}
