import { checkLedger } from '../../../src/billing/check-ledger.ts'
import { Ledger } from '../../../src/billing/ledger.ts'
import type { UsageFact } from '../../../src/billing/usage-fact.ts'
import { usageRecords } from '../../../src/billing/usage-records.ts'
import type { Queryable } from '../../../src/database/database.ts'
import { openPostgres } from '../../../src/database/postgres.ts'
import { type Stretch, stretchesOf, whole } from './lives.ts'

/**
 * What the ledger bills, held against what the hosts ran by the conductors' tables: each stretch of each life once, to
 * the second.
 *
 * @returns a line for each difference
 */
export async function billDisagrees(ledgerUrl: string, cloud: Queryable): Promise<readonly string[]> {
  const database = await openPostgres({ url: ledgerUrl, poolSize: 2 })
  try {
    const ledger = new Ledger(database)
    const billed = new Set<string>()
    for await (const { facts } of ledger.instances()) {
      for (const stretch of billedOf(facts)) billed.add(lineOf(stretch))
    }
    const ran = new Set((await stretchesOf(cloud)).map(lineOf))
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

/** Whether it was resized is a state of its own, and no other price. */
function billedOf(facts: readonly UsageFact[]): readonly Stretch[] {
  return whole(
    usageRecords(facts).map(({ instance_uuid: uuid, from, to, host, flavor, model }) => ({
      ...{ uuid, from, to: to ?? 'now', host },
      ...{ flavor: flavor.name, model },
    })),
  )
}

function lineOf({ uuid, from, to, host, flavor, model }: Stretch): string {
  return [uuid, from, to, host, flavor, model ?? 'in clear'].join(' ')
}
