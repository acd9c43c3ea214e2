import { describe, expect, it } from 'vitest'
import type { Migration } from '../../src/database/migration.ts'
import { sqlState } from '../../src/database/sql-state.ts'
import { databaseEngines } from '../support/databases.ts'

const tables: readonly Migration[] = [
  { id: '1', sql: 'create table accounts (name text primary key, balance bigint not null, facts jsonb)' },
]

describe.each(databaseEngines)('a database on $name', ({ open }) => {
  it('gives rows back in the types of JavaScript', async () => {
    await using test = await open(tables)

    const rows = await test.database.query(
      `select $1::bigint as big, $2::jsonb as json, $3::text[] as list, true as yes, null as nothing,
              '2026-01-02T03:04:05Z'::timestamptz as time, 0.5::double precision as half`,
      [7, JSON.stringify([1, { a: 'é' }]), ['x', 'y']],
    )

    expect(rows).toEqual([
      {
        big: 7,
        json: [1, { a: 'é' }],
        list: ['x', 'y'],
        yes: true,
        nothing: null,
        time: new Date('2026-01-02T03:04:05Z'),
        half: 0.5,
      },
    ])
  })

  it('refuses a bigint that a number cannot hold instead of changing it', async () => {
    await using test = await open(tables)

    await expect(test.database.query('select 9007199254740993::bigint as big')).rejects.toThrow('9007199254740993')
  })

  it('keeps what a transaction did when its work returns, and nothing of it when the work throws', async () => {
    await using test = await open(tables)
    const { database } = test

    await database.transaction((tx) => tx.query(`insert into accounts values ('kept', 1)`))
    const failed = database.transaction(async (tx) => {
      await tx.query(`insert into accounts values ('lost', 1)`)
      throw new Error('changed my mind')
    })

    await expect(failed).rejects.toThrow('changed my mind')
    expect(await database.query('select name from accounts')).toEqual([{ name: 'kept' }])
  })

  it('does not report a transaction as done when a statement of it failed and the work went on', async () => {
    await using test = await open(tables)
    const { database } = test

    const failed = database.transaction(async (tx) => {
      await tx.query(`insert into accounts values ('lost', 1)`)
      await tx.query('select 1/0').catch(() => {})
    })

    await expect(failed).rejects.toMatchObject({ code: '22012' })
    expect(await database.query('select name from accounts')).toEqual([])
  })

  it('runs a transaction again when the engine says that another go may succeed', async () => {
    await using test = await open(tables)
    let goes = 0

    const result = await test.database.transaction(async (tx) => {
      goes++
      if (goes < 3) await tx.query(`do $$ begin raise exception 'again' using errcode = '40001'; end $$`)
      return goes
    })

    expect(result).toBe(3)
  })

  it('gives up on a transaction that is undone every time', async () => {
    await using test = await open(tables)

    const hopeless = test.database.transaction((tx) =>
      tx.query(`do $$ begin raise exception 'again' using errcode = '40P01'; end $$`),
    )

    await expect(hopeless).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', details: { sqlstate: '40P01' } })
  })

  it("passes on the engine's error with its SQLSTATE", async () => {
    await using test = await open(tables)

    const error = await test.database.query('select * from nowhere').catch((thrown: unknown) => thrown)

    expect(sqlState(error)).toBe('42P01')
  })
})

const withSessions = databaseEngines.filter(({ concurrent }) => concurrent)

// The embedded engine has one session, which the tests share; pglite.test.ts closes one.
describe.each(withSessions)('transactions at the same time on $name', ({ open }) => {
  it('lets two that wait for each other both end well', async () => {
    await using test = await open(tables)
    const { database } = test
    await database.query(`insert into accounts values ('a', 0), ('b', 0)`)
    const add = (first: string, second: string) =>
      database.transaction(async (tx) => {
        await tx.query('update accounts set balance = balance + 1 where name = $1', [first])
        await tx.query('select pg_sleep(0.2)')
        await tx.query('update accounts set balance = balance + 1 where name = $1', [second])
      })

    await Promise.all([add('a', 'b'), add('b', 'a')])

    expect(await database.query('select balance from accounts')).toEqual([{ balance: 2 }, { balance: 2 }])
  })

  it('is unavailable, by name, once it is closed', async () => {
    await using test = await open(tables)
    const other = await test.connect()
    await other.close()

    await expect(other.query('select 1')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  })
})
