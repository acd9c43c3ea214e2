import { describe, expect, it } from 'vitest'
import { checkLedger } from '../../../src/billing/check-ledger.ts'
import { Ledger } from '../../../src/billing/ledger.ts'
import { ledgerMigrations } from '../../../src/billing/ledger-schema.ts'
import { parseRateCard } from '../../../src/billing/rate-card.ts'
import { statementOf } from '../../../src/billing/statement.ts'
import type { Database } from '../../../src/database/database.ts'
import type { AnyNotification } from '../../../src/notifications/notification.ts'
import { randomFrom } from '../../soak/random.ts'
import { databaseEngines } from '../../support/databases.ts'
import { deliver } from './deliver.ts'
import { type Life, lifeOf, MONTH } from './life.ts'
import { plainBill, RATES } from './plain-bill.ts'

/** SEVBUS_TEST_SEED=… is the same month again. */
const SEED = Number(process.env.SEVBUS_TEST_SEED ?? Math.floor(Math.random() * 1e6))
const INSTANCES = Number(process.env.SEVBUS_TEST_INSTANCES ?? 150)

function aMonth(instances: number) {
  const random = randomFrom(SEED)
  const delays = Array.from({ length: 30 }, () => Math.floor(random() * 900_000))
  return { random, lives: Array.from({ length: instances }, (_, n) => lifeOf(n, random, delays)) }
}

/** As `plainBill` has them. */
async function billed(database: Database) {
  const card = parseRateCard(RATES, 'rates.yaml')
  const { lines, unpriced } = await statementOf(new Ledger(database), { span: MONTH, card })
  expect(unpriced).toEqual([])
  return new Map(
    lines.map(({ project_id, flavor, model, instances, seconds, amount }) => [
      JSON.stringify([project_id, flavor, model]),
      { instances, seconds, amount: BigInt((amount as string).replace('.', '')) },
    ]),
  )
}

const sorted = (bill: ReadonlyMap<string, object>) => [...bill].sort(([a], [b]) => (a < b ? -1 : 1))
const sum = (bill: ReadonlyMap<string, { readonly seconds: number }>) =>
  [...bill.values()].reduce((all, { seconds }) => all + seconds, 0)
const isOf = (uuid: string, event: string) => (notification: AnyNotification) =>
  notification.event_type === event && JSON.stringify(notification.payload).includes(uuid)

describe.each(databaseEngines)(`a month of many lives, seed ${SEED}, billed on $name`, ({ open }) => {
  it('costs to the last decimal what the instances did, whatever came late, twice, or not at first, and nothing is odd', async () => {
    await using db = await open(ledgerMigrations)
    const { random, lives } = aMonth(INSTANCES)

    const kills = await deliver(db.database, lives, { random })

    expect(kills).toBeGreaterThan(0)
    expect(sorted(await billed(db.database))).toEqual(sorted(plainBill(lives)))
    const { auditedPeriods, ...odd } = await checkLedger(new Ledger(db.database))
    expect(odd).toEqual({ disagreements: [], unread: [], lost: [] })
    expect(auditedPeriods).toBeGreaterThanOrEqual(30)
  })
})

describe(`what is lost for good in such a month, seed ${SEED}`, () => {
  const [{ open }] = databaseEngines as readonly [(typeof databaseEngines)[number]]
  const isAlive = ({ told }: Life) => told.some(({ notification }) => notification.event_type === 'instance.exists')
  /** One that ended well within the month, and was seen before. */
  const ended = ({ lives }: { lives: readonly Life[] }) =>
    lives.find(
      (life) => isAlive(life) && life.endMs !== undefined && life.endMs < Date.parse('2026-11-28T00:00:00Z'),
    ) as Life

  async function found(month: ReturnType<typeof aMonth>, isLost: (notification: AnyNotification) => boolean) {
    await using db = await open(ledgerMigrations)
    await deliver(db.database, month.lives, { random: month.random, isLost })
    const { disagreements, lost } = await checkLedger(new Ledger(db.database))
    return {
      odd: disagreements.map(({ instance_uuid, kind }) => `${instance_uuid} ${kind}`),
      lost,
      bill: await billed(db.database),
    }
  }

  it('is named: a deletion, and the bill has its end from instance.exists', async () => {
    const month = aMonth(40)
    const { uuid } = ended(month)

    const { odd, lost, bill } = await found(month, isOf(uuid, 'instance.delete.end'))

    expect(odd).toEqual([`${uuid} lost end`])
    expect(lost).toEqual([expect.objectContaining({ instance_uuid: uuid })])
    expect(sorted(bill)).toEqual(sorted(plainBill(month.lives)))
  })

  it('is named: a deletion and all that came after it, as long as its host tells of others', async () => {
    const month = aMonth(40)
    const { uuid, told } = ended(month)
    const deleted = told.findIndex(({ notification }) => notification.event_type === 'instance.delete.end')
    const gone = new Set(told.slice(deleted).map(({ notification }) => notification.message_id))

    const { odd } = await found(month, ({ message_id }) => gone.has(message_id))

    expect(new Set(odd)).toEqual(new Set([`${uuid} not seen`]))
  })

  it('is named: a beginning, and the bill has it from launched_at', async () => {
    const month = aMonth(40)
    const { uuid } = ended(month)

    const { odd, lost, bill } = await found(month, isOf(uuid, 'instance.create.end'))

    expect(odd).toEqual([`${uuid} lost beginning`])
    expect(lost).toEqual([{ instance_uuid: uuid, from: 3, to: 3 }])
    expect(sum(bill)).toBe(sum(plainBill(month.lives)))
  })

  it('is named: an image that was edited under a guest, if somebody tells of it what the image says now', async () => {
    const month = aMonth(40)
    const { uuid } = month.lives.find(({ told, stretches }) => {
      const isSeen = told.some(({ notification }) => notification.event_type === 'instance.exists')
      return isSeen && stretches.every(({ model }) => model !== null)
    }) as Life
    for (const life of month.lives.filter((each) => each.uuid === uuid)) {
      for (const { notification } of life.told) {
        const { sevbus } = notification.payload as { sevbus: { mem_encryption: unknown } }
        if (notification.event_type === 'instance.exists') sevbus.mem_encryption = null
      }
    }

    const { odd, bill } = await found(month, () => false)

    expect(new Set(odd)).toEqual(new Set([`${uuid} billed otherwise`]))
    expect(sorted(bill)).toEqual(sorted(plainBill(month.lives)))
  })
})
