import { checkLedger } from '../../../src/billing/check-ledger.ts'
import { Ledger } from '../../../src/billing/ledger.ts'
import { usageRecords } from '../../../src/billing/usage-records.ts'
import type { Queryable } from '../../../src/database/database.ts'
import { openPostgres } from '../../../src/database/postgres.ts'

/**
 * What the ledger bills, held against what the hosts ran by the conductors' tables: each life once, to the second.
 *
 * @returns a line for each difference
 */
export async function billDisagrees(ledgerUrl: string, cloud: Queryable): Promise<readonly string[]> {
  const database = await openPostgres({ url: ledgerUrl, poolSize: 2 })
  try {
    const ledger = new Ledger(database)
    const billed = new Set<string>()
    for await (const { facts } of ledger.instances()) {
      for (const { instance_uuid, from, to, flavor, model } of usageRecords(facts))
        billed.add([instance_uuid, from, to, flavor.name, model ?? 'in clear'].join(' '))
    }
    const ran = new Set((await cloud.query<{ life: string }>(LIVES)).map(({ life }) => life))
    const { disagreements, unread, lost } = await checkLedger(ledger)
    return [
      ...(ran.size === 0 ? ['nothing ran'] : []),
      ...[...ran].filter((life) => !billed.has(life)).map((life) => `ran, and is not billed so: ${life}`),
      ...[...billed].filter((life) => !ran.has(life)).map((life) => `is billed, and did not run so: ${life}`),
      ...[...disagreements, ...unread, ...lost].map((odd) => `sevbus bill check: ${JSON.stringify(odd)}`),
    ]
  } finally {
    await database.close()
  }
}

const MOMENT = `'YYYY-MM-DD"T"HH24:MI:SS"Z"'`
/** Who ran for no second is not billed. */
const LIVES = `
  select concat_ws(' ', uuid, to_char(launched_at at time zone 'UTC', ${MOMENT}), to_char(terminated_at at time zone 'UTC', ${MOMENT}),
                   flavor ->> 'name', coalesce(mem_encryption ->> 'model', 'in clear')) as life
    from instances
   where launched_at is not null and date_trunc('second', launched_at) < date_trunc('second', terminated_at)`
