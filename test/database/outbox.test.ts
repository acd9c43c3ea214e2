import { describe, expect, it } from 'vitest'
import type { Queryable } from '../../src/database/database.ts'
import { DatabaseOutbox, type StoredAs, takenAtOnce, toStore } from '../../src/database/outbox.ts'
import { outboxMigrations } from '../../src/database/outbox-schema.ts'
import type { DurableMessage } from '../../src/rpc/durable-message.ts'
import { databaseEngines } from '../support/databases.ts'

const A_MINUTE = 60_000

function message(orderingKey: string, n: number): DurableMessage {
  const to = { kind: 'topic', exchange: 'sevbus', topic: 'sevbus-conductor' } as const
  return { to, body: JSON.stringify({ n }), mandatory: true, orderingKey }
}

describe.each(databaseEngines)('the outbox on $name', ({ open, concurrent }) => {
  it('gives messages back as they were stored, each with an id', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })

    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('b', 2)]))

    expect(await outbox.take(10)).toEqual([
      { id: '1', failures: 0, ...message('a', 1) },
      { id: '2', failures: 0, ...message('b', 2) },
    ])
  })

  it('has nothing of a transaction that was rolled back', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })

    await test.database
      .transaction(async (tx) => {
        await outbox.enqueue(tx, [message('a', 1)])
        throw new Error('rolled back')
      })
      .catch(() => {})

    expect(await outbox.take(10)).toEqual([])
  })

  it('gives only the oldest of a key, and the next when that is sent', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('a', 2), message('b', 3)]))

    const first = await outbox.take(10)
    const whileOnTheWay = await outbox.take(10)
    await outbox.sent(first.map(({ id }) => id))
    const next = await outbox.take(10)

    expect(first.map(({ body }) => body)).toEqual(['{"n":1}', '{"n":3}'])
    expect(whileOnTheWay).toEqual([])
    expect(next.map(({ body }) => body)).toEqual(['{"n":2}'])
  })

  it('gives a message to another relay when the first has not settled it within its lease', async () => {
    await using test = await open(outboxMigrations)
    const dying = new DatabaseOutbox(test.database, { owner: 'conductor', leaseMs: 0 })
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1)]))

    await dying.take(10)

    expect(await outbox.take(10)).toEqual([{ id: '1', failures: 0, ...message('a', 1) }])
  })

  it('keeps a message for the relay that says it is still at it, and leaves those of others as they are', async () => {
    await using test = await open(outboxMigrations)
    const slow = new DatabaseOutbox(test.database, { owner: 'conductor', leaseMs: 0 })
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('b', 2)]))
    await slow.take(10)

    await new DatabaseOutbox(test.database, { owner: 'scheduler' }).lease.renew(['2'])
    await outbox.lease.renew(['1', '1000'])

    expect((await outbox.take(10)).map(({ id }) => id)).toEqual(['2'])
    await slow.lease.renew(['1', '2'])
    expect((await outbox.take(10)).map(({ id }) => id)).toEqual(['1', '2'])
  })

  it('keeps a postponed message, and those of its key behind it, until its time', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('a', 2)]))
    await outbox.take(10)

    await outbox.postpone('1', A_MINUTE, 'nobody serves the queue')
    const before = await outbox.take(10)
    await outbox.postpone('1', 0, 'nobody serves the queue')
    const after = await outbox.take(10)

    expect(before).toEqual([])
    expect(after.map(({ id }) => id)).toEqual(['1'])
    expect(await test.database.query('select failures, last_failure from outbox where id = 1')).toEqual([
      { failures: 2, last_failure: 'nobody serves the queue' },
    ])
  })

  it('tells how much waits, with those that a relay has, and since when; nothing of another owner', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const other = new DatabaseOutbox(test.database, { owner: 'scheduler' })
    const empty = await outbox.backlog()
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('a', 2)]))
    await test.database.query(`update outbox set stored_at = now() - interval '1 hour' where id = 1`)
    await outbox.take(1)

    const { messages, oldestAgeSeconds } = await outbox.backlog()

    expect(empty).toEqual({ messages: 0, oldestAgeSeconds: undefined })
    expect([messages, Math.floor((oldestAgeSeconds ?? 0) / 60)]).toEqual([2, 60])
    expect(await other.backlog()).toEqual({ messages: 0, oldestAgeSeconds: undefined })
  })

  it("gives first what has waited longest, so that what cannot be sent stands in nobody's way", async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('a', 1), message('b', 2), message('c', 3)]))
    const [failing] = await outbox.take(1)
    await outbox.postpone(failing?.id ?? '', 0, 'nobody serves the queue')

    const taken = [await outbox.take(1), await outbox.take(1), await outbox.take(1)].flat()

    expect(taken.map(({ body, failures }) => [body, failures])).toEqual([
      ['{"n":2}', 0],
      ['{"n":3}', 0],
      ['{"n":1}', 1],
    ])
  })

  it('sends a delayed message no sooner; it holds back its key and no other', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    await test.database.transaction(async (tx) => {
      await outbox.enqueue(tx, [message('a', 1)], { delayMs: A_MINUTE })
      await outbox.enqueue(tx, [message('a', 2), message('b', 3)])
    })

    const before = await outbox.take(10)
    await test.database.query(`update outbox set not_before = not_before - interval '1 minute' where id = 1`)
    const after = await outbox.take(10)

    expect([before, after].map((taken) => taken.map(({ body }) => body))).toEqual([['{"n":3}'], ['{"n":1}']])
  })

  it('is shared by owners that never see the messages of each other', async () => {
    await using test = await open(outboxMigrations)
    const conductor = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const other = new DatabaseOutbox(test.database, { owner: 'other' })
    await test.database.transaction((tx) => conductor.enqueue(tx, [message('a', 1)]))

    expect(await other.take(10)).toEqual([])
    await other.sent(['1'])
    expect(await conductor.take(10)).toHaveLength(1)
  })

  it('gives every message once, in order per key, to relays that take at the same time', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const keys = ['a', 'b', 'c', 'd', 'e']
    const messages = Array.from({ length: 100 }, (_, n) => message(keys[n % keys.length] as string, n))
    await test.database.transaction((tx) => outbox.enqueue(tx, messages))
    const delivered: number[] = []

    const relay = async () => {
      const mine = new DatabaseOutbox(await test.connect(), { owner: 'conductor' })
      while (delivered.length < messages.length) {
        const taken = await mine.take(3)
        for (const { body } of taken) delivered.push(JSON.parse(body).n)
        await mine.sent(taken.map(({ id }) => id))
      }
    }
    await Promise.all(Array.from({ length: concurrent ? 4 : 2 }, relay))

    expect(delivered.toSorted((a, b) => a - b)).toEqual(messages.map((_, n) => n))
    for (const key of keys.keys()) {
      const ofKey = delivered.filter((n) => n % keys.length === key)
      expect(ofKey).toEqual(ofKey.toSorted((a, b) => a - b))
    }
  })

  it('numbers messages that want it for each key from 1, in the order of their storing, and no others', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const { owner, leaseMs } = outbox.storing

    await test.database.transaction((tx) =>
      outbox.enqueue(tx, [
        numberedMessage('a', 'x'),
        message('a', 7),
        numberedMessage('b', 'y'),
        numberedMessage('a', 'z'),
      ]),
    )
    const [row] = await test.database.query<{ stored: StoredAs[] }>('select outbox_put($1, $2, $3, $4) as stored', [
      owner,
      ...toStore([numberedMessage('a', 'w'), numberedMessage('c', 'v')]),
      leaseMs,
    ])
    const bodies = await test.database.query<{ body: string }>('select body from outbox order by id')

    expect(bodies.map(({ body }) => body)).toEqual(['"x" 1', '{"n":7}', '"y" 1', '"z" 2', '"w" 3', '"v" 1'])
    // Of those that the statement stores, the second is the first of its key, and so taken, as it is sent.
    expect(row?.stored).toEqual([
      [null, 3],
      ['6', 1],
    ])
    expect(takenAtOnce([numberedMessage('a', 'w'), numberedMessage('c', 'v')], row?.stored ?? [])).toEqual([
      { ...message('c', 0), body: '"v" 1', id: '6', failures: 0 },
    ])
  })

  it('takes for who stores them all messages of a key that has none waiting, and stores of those about something what is asked for', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const { owner, leaseMs } = outbox.storing
    await test.database.transaction((tx) => outbox.enqueue(tx, [message('waiting', 0)]))
    const [one, other] = ['1', '2'].map((digit) => `${digit.repeat(8)}-1111-4111-8111-111111111111`) as [string, string]
    const messages = [message('a', 1), message('a', 2), message('waiting', 3), message('b', 4)]

    const [row] = await test.database.query<{ stored: StoredAs[] }>(
      'select outbox_put($1, $2, $3, $4, 0, array[$5]::uuid[]) as stored',
      [owner, ...toStore(messages, [one, one, one, other]), leaseMs, one],
    )
    const nothing = 'select outbox_put($1, $2, $3, $4, 0, array[]::uuid[]) as stored'
    const [none] = await test.database.query(nothing, [owner, ...toStore(messages, [one, one, one, other]), leaseMs])

    expect(row?.stored).toEqual([
      ['2', null],
      ['3', null],
      [null, null],
    ])
    expect(none).toEqual({ stored: null })
    expect(await outbox.take(10)).toMatchObject([{ id: '1' }])
  })

  it('stores any text as it is', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const bodies = ['', 'null', '"\\\n\\"', '{a,b}', 'ä€😀', 'x'.repeat(70_000)]

    await test.database.transaction((tx) =>
      outbox.enqueue(
        tx,
        bodies.map((body, n) => ({ ...message(`${n}`, n), body })),
      ),
    )

    expect((await outbox.take(10)).map(({ body }) => body)).toEqual(bodies)
  })

  it('looks at none of what waits under other keys to store a message', async () => {
    await using test = await open(outboxMigrations)
    const outbox = new DatabaseOutbox(test.database, { owner: 'conductor' })
    const { owner, leaseMs } = outbox.storing
    const waiting = Array.from({ length: 500 }, (_, n) => message(`waiting-${n}`, n))
    await test.database.transaction((tx) => outbox.enqueue(tx, waiting))

    const looked = await test.database.transaction(async (tx) => {
      const before = await rowsRead(tx)
      const stored = toStore([message('a', 1), message('waiting-7', 2), message('b', 3)])
      await tx.query('select outbox_put($1, $2, $3, $4)', [owner, ...stored, leaseMs])
      return (await rowsRead(tx)) - before
    })

    // The one that waits under the same key is read, if the index alone does not tell that it is there.
    expect(looked).toBeLessThanOrEqual(1)
  })

  it('leaves no gap in the numbers for what was rolled back, nor for those who store at the same time', async () => {
    await using test = await open(outboxMigrations)
    const store = async (commits: boolean) => {
      const database = await test.connect()
      const outbox = new DatabaseOutbox(database, { owner: 'conductor' })
      await database
        .transaction(async (tx) => {
          await outbox.enqueue(tx, [numberedMessage('a', commits ? 'stays' : 'goes')])
          if (!commits) throw new Error('rolled back')
        })
        .catch(() => {})
    }

    const turns = [true, false, true, true, false, true]
    if (concurrent) await Promise.all(turns.map(store))
    else for (const turn of turns) await store(turn)

    const bodies = await test.database.query<{ body: string }>('select body from outbox order by number')
    expect(bodies.map(({ body }) => body)).toEqual(['"stays" 1', '"stays" 2', '"stays" 3', '"stays" 4'])
  })
})

function numberedMessage(orderingKey: string, text: string): DurableMessage {
  return { ...message(orderingKey, 0), body: `"${text}" @here@`, numberMark: '@here@' }
}

/** Of the outbox, by this session so far. */
async function rowsRead(tx: Queryable): Promise<number> {
  const [row] = await tx.query<{ read: number }>(
    `select (idx_tup_fetch + seq_tup_read)::integer as read from pg_stat_xact_user_tables where relid = 'outbox'::regclass`,
  )
  return row?.read ?? Number.NaN
}
