import { describe, expect, it } from 'vitest'
import { catchUp } from '../../src/billing/catch-up.ts'
import { Ledger } from '../../src/billing/ledger.ts'
import { ledgerMigrations } from '../../src/billing/ledger-schema.ts'
import { recordNotifications } from '../../src/billing/record-notifications.ts'
import { InSequence } from '../../src/notifications/in-sequence.ts'
import type { AnyNotification } from '../../src/notifications/notification.ts'
import type { LastTold } from '../../src/notifications/positions.ts'
import type { Gap } from '../../src/notifications/replay.ts'
import { databaseEngines } from '../support/databases.ts'
import { told } from './told.ts'

const uuid = (n: number) => `178b0921-8f85-4257-88b6-${n.toString(16).padStart(12, '0')}`
const created = (n: number) => told('instance.create.end', { uuid: uuid(n), sequence: 1 })
const stopped = (n: number) => told('instance.power_off.end', { uuid: uuid(n), sequence: 2, state: 'stopped' })
const deleted = (n: number) =>
  told('instance.delete.end', { uuid: uuid(n), sequence: 2, terminated_at: '2026-11-02T00:00:00Z' })

describe.each(databaseEngines)('a ledger on $name that catches up', ({ open }) => {
  /** @param kept what conductors have told of an instance and keep, by its uuid. */
  async function aLedger(
    kept: ReadonlyMap<string, readonly AnyNotification[]>,
    last: ReadonlyMap<string, number> = new Map(),
    onAnswered = () => {},
  ) {
    const db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const asked: Gap[] = []
    const replay = async (gap: Gap) => {
      asked.push(gap)
      const all = kept.get(gap.instance_uuid) ?? []
      const notifications = all.filter((_, n) => n + 1 >= gap.from && n + 1 <= gap.to)
      onAnswered()
      return { notifications, last_sequence: last.get(gap.instance_uuid) ?? all.length }
    }
    const sequence = new InSequence<AnyNotification>({
      positions: ledger.followed.positions,
      replay,
      onLost: (gap) => ledger.followed.noteLost(gap),
      onCountedBack: (told) => ledger.followed.noteCountedBack(told),
    })
    const handle = (batch: readonly AnyNotification[]) =>
      sequence.handle(batch, (ordered) => recordNotifications(ledger, ordered))
    const living = async function* () {
      yield [uuid(1), uuid(3)]
    }
    const kinds = async () => {
      const all: string[] = []
      for await (const { instance_uuid, facts } of ledger.instances())
        all.push(`${Number.parseInt(instance_uuid.slice(-12), 16)} ${facts.map(({ kind }) => kind).toSorted()}`)
      return all
    }
    const lastTold: LastTold = async (instances) =>
      new Map(
        instances.map((instance) => {
          const all = kept.get(instance) ?? []
          return [instance, { sequence: last.get(instance) ?? all.length, message_id: all.at(-1)?.message_id ?? null }]
        }),
      )
    /** @param of what conductors say of all at once: of an earlier release nothing */
    const run = (of = lastTold) => catchUp({ followed: ledger.followed, living, lastTold: of, replay, handle })
    return { ledger, handle, run, asked, kinds, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() }
  }

  it('learns what was told and never came: of those it knows, that one has ended; and of one it has never heard of', async () => {
    const all = [created(1), stopped(1), created(2), deleted(2), created(3), created(4), deleted(4)] as const
    const kept = new Map(
      [1, 2, 3, 4].map((n) => [uuid(n), all.filter(({ payload }) => JSON.stringify(payload).includes(uuid(n)))]),
    )
    await using test = await aLedger(kept)
    await test.handle([all[0], all[2], all[5], all[6]])
    test.asked.length = 0

    await test.run()

    expect(await test.kinds()).toEqual(['1 begins,changes', '2 begins,ends', '3 begins', '4 begins,ends'])
    // Nothing more is told of what is known to have ended.
    expect(test.asked.map(({ instance_uuid, from }) => [instance_uuid, from])).toEqual([
      [uuid(1), 1],
      [uuid(2), 1],
      [uuid(3), 1],
    ])
    test.asked.length = 0
    await test.run()
    expect(test.asked).toEqual([])
    // Conductors of an earlier release are asked of each.
    await test.run(async () => undefined)
    expect(test.asked.map(({ instance_uuid, from }) => [instance_uuid, from])).toEqual([
      [uuid(1), 2],
      [uuid(3), 1],
    ])
    expect(await test.ledger.followed.lostEvents()).toEqual([])
  })

  it('sees that a number was given twice, and takes what has it now as well', async () => {
    const kept = new Map([1, 3].map((n) => [uuid(n), [created(n)]]))
    await using test = await aLedger(kept)
    await test.handle([created(1), created(3)])
    kept.get(uuid(1))?.push(deleted(1))

    await test.run()

    expect(await test.kinds()).toEqual(['1 begins,begins,ends', '3 begins,begins'])
    expect(await test.ledger.followed.countedBack()).toMatchObject([
      { instance_uuid: uuid(1), reached: 1, last_sequence: 2 },
      { instance_uuid: uuid(3), reached: 1, last_sequence: 1 },
    ])
  })

  it('sees that conductors have counted back, and takes what they have told since', async () => {
    const kept = new Map([[uuid(1), [created(1), stopped(1)]]])
    await using test = await aLedger(kept)
    await test.handle(kept.get(uuid(1)) ?? [])
    kept.set(uuid(1), [
      told('instance.delete.end', { uuid: uuid(1), sequence: 1, terminated_at: '2026-11-02T00:00:00Z' }),
    ])

    await test.run()

    expect(await test.kinds()).toEqual(['1 begins,changes,ends'])
    expect(await test.ledger.followed.countedBack()).toMatchObject([
      { instance_uuid: uuid(1), reached: 2, last_sequence: 1 },
    ])
    test.asked.length = 0
    await test.run()
    expect(test.asked).toEqual([])
  })

  it('takes what is told while it asks, and misses nothing for that', async () => {
    const [first, second] = [created(1), deleted(1)]
    const kept = new Map<string, readonly AnyNotification[]>()
    await using test = await aLedger(kept, new Map([[uuid(1), 2]]), () => void kept.set(uuid(1), [first, second]))
    await test.handle([first])

    await test.run()

    expect(await test.kinds()).toEqual(['1 begins,ends'])
    expect(await test.ledger.followed.lostEvents()).toEqual([])
  })

  it('says that some are missing which conductors keep no more', async () => {
    await using test = await aLedger(new Map(), new Map([[uuid(1), 4]]))
    await test.handle([created(1)])

    await test.run()

    expect(await test.ledger.followed.lostEvents()).toEqual([{ instance_uuid: uuid(1), from: 2, to: 4 }])
    test.asked.length = 0
    await test.run()
    expect(test.asked).toEqual([])
  })
})
