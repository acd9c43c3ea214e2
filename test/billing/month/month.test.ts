import { describe, expect, it } from 'vitest'
import { checkLedger } from '../../../src/billing/check-ledger.ts'
import { Ledger } from '../../../src/billing/ledger.ts'
import { ledgerMigrations } from '../../../src/billing/ledger-schema.ts'
import { parseRateCard } from '../../../src/billing/rate-card.ts'
import { statementOf } from '../../../src/billing/statement.ts'
import { randomFrom } from '../../soak/random.ts'
import { databaseEngines } from '../../support/databases.ts'
import { deliver } from './deliver.ts'
import { clocksOf, DAY_MS, END_MS, type Life, lifeOf, MONTH } from './life.ts'
import { plainBill, RATES } from './plain-bill.ts'

/** SEVBUS_TEST_SEED=… is the same month again. */
const SEED = Number(process.env.SEVBUS_TEST_SEED ?? Math.floor(Math.random() * 1e6))
const INSTANCES = Number(process.env.SEVBUS_TEST_INSTANCES ?? 60)

function aMonth() {
  const random = randomFrom(SEED)
  const delays = Array.from({ length: 30 }, () => Math.floor(random() * 900_000))
  const clocks = clocksOf(random)
  return { random, lives: Array.from({ length: INSTANCES }, (_, n) => lifeOf(n, random, delays, clocks)) }
}

/** As `plainBill` has them. */
async function billed(ledger: Pick<Ledger, 'instances'>) {
  const card = parseRateCard(RATES, 'rates.yaml')
  const { lines, unpriced } = await statementOf(ledger, { span: MONTH, card })
  expect(unpriced).toEqual([])
  return new Map(
    lines.map(({ project_id, flavor, model, instances, seconds, amount }) => [
      JSON.stringify([project_id, flavor, model]),
      { instances, seconds, amount: BigInt((amount as string).replace('.', '')) },
    ]),
  )
}

function without(ledger: Ledger, uuids: readonly string[]): Pick<Ledger, 'instances'> {
  return {
    async *instances() {
      for await (const each of ledger.instances()) if (!uuids.includes(each.instance_uuid)) yield each
    },
  }
}

const sorted = (bill: ReadonlyMap<string, object>) => [...bill].sort(([a], [b]) => (a < b ? -1 : 1))
const idsFrom = ({ told }: Life, event: string) => {
  const first = told.findIndex(({ notification }) => notification.event_type === event)
  return told.slice(first).map(({ notification }) => notification.message_id)
}
const isSeen = ({ told }: Life) => told.some(({ notification }) => notification.event_type === 'instance.exists')
const isLong = (life: Life) => {
  const [{ fromMs }] = life.stretches as readonly [Life['stretches'][number]]
  return isSeen(life) && fromMs < (life.endMs ?? END_MS) - DAY_MS
}
/** It lived for days, and ended days before the month, so that something was told of it, and of others after that. */
const hasEnded = (life: Life) => {
  return isLong(life) && life.stretches.at(-1)?.host !== null && (life.endMs ?? END_MS) < END_MS - 3 * DAY_MS
}

describe(`a month of many lives, seed ${SEED}`, () => {
  it.each(databaseEngines)(
    'costs to the last decimal what they did, whatever came late, twice, or not at first, on $name',
    async ({ open }) => {
      await using db = await open(ledgerMigrations)
      const { random, lives } = aMonth()

      const kills = await deliver(db.database, lives, { random })

      expect(kills).toBeGreaterThan(0)
      const ledger = new Ledger(db.database)
      expect(sorted(await billed(ledger))).toEqual(sorted(plainBill(lives)))
      const { auditedPeriods, ...odd } = await checkLedger(ledger)
      expect(odd).toEqual({ disagreements: [], sharedIds: [], unread: [], lost: [], countedBack: [] })
      expect(auditedPeriods).toBeGreaterThanOrEqual(30)
    },
  )

  it('has a name for each that is billed wrongly because something was lost for good, and for no other', async () => {
    const [{ open }] = databaseEngines as readonly [(typeof databaseEngines)[number]]
    await using db = await open(ledgerMigrations)
    const { random, lives } = aMonth()
    const [deleted, vanished, begun] = lives.filter(hasEnded) as [Life, Life, Life]
    const edited = lives.find(
      (life) =>
        ![deleted, vanished, begun].includes(life) &&
        isLong(life) &&
        life.stretches.every(({ model, host }) => model && host),
    ) as Life
    const lostIds = new Set([
      ...idsFrom(deleted, 'instance.delete.end').slice(0, 1),
      ...idsFrom(vanished, 'instance.delete.end'),
      ...idsFrom(begun, 'instance.create.end').slice(0, 1),
    ])
    // As somebody tells of it who looks into the image, which says no more what its guest was launched with.
    for (const { notification } of edited.told) {
      const { sevbus } = notification.payload as { sevbus: { mem_encryption: unknown } }
      if (notification.event_type === 'instance.exists') sevbus.mem_encryption = null
    }

    await deliver(db.database, lives, { random, isLost: ({ message_id }) => lostIds.has(message_id) })

    const ledger = new Ledger(db.database)
    const { disagreements, lost } = await checkLedger(ledger)
    const named = (life: Life, kind: string) => `${life.uuid} ${kind}`
    expect(new Set(disagreements.map(({ instance_uuid, kind }) => `${instance_uuid} ${kind}`))).toEqual(
      new Set([
        ...[named(deleted, 'lost end'), named(vanished, 'not seen'), named(begun, 'lost beginning')],
        named(edited, 'billed otherwise'),
      ]),
    )
    expect(lost.map(({ instance_uuid }) => instance_uuid)).toEqual([deleted.uuid, begun.uuid].sort())
    // All others, and the one whose end its instance.exists has told, are billed as they were.
    const wrong = [vanished, begun]
    const right = lives.filter((life) => !wrong.includes(life))
    const some = without(
      ledger,
      wrong.map(({ uuid }) => uuid),
    )
    expect(sorted(await billed(some))).toEqual(sorted(plainBill(right)))
  })
})
