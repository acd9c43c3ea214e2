import { describe, expect, it } from 'vitest'
import { migrate, pendingMigrations } from '../../src/database/migrate.ts'
import type { Migration } from '../../src/database/migration.ts'
import { databaseEngines } from '../support/databases.ts'

const first: Migration = { id: '0001-first', sql: 'create table a (n int); create table b (n int)' }
const second: Migration = { id: '0002-second', sql: 'alter table a add column m int' }
const broken: Migration = { id: '0003-broken', sql: 'create table c (n int); alter table nowhere add column m int' }

describe.each(databaseEngines)('migrations on $name', ({ open }) => {
  it('are applied once each, in order', async () => {
    await using test = await open([])
    const { database } = test

    expect(await migrate(database, [first])).toEqual(['0001-first'])
    expect(await pendingMigrations(database, [first, second])).toEqual([second])
    expect(await migrate(database, [first, second])).toEqual(['0002-second'])
    expect(await migrate(database, [first, second])).toEqual([])
    expect(await database.query('select n, m from a')).toEqual([])
  })

  it('are applied by one of several workers that start at once', async () => {
    await using test = await open([])
    const workers = await Promise.all(Array.from({ length: 4 }, () => test.connect()))

    const applied = await Promise.all(workers.map((database) => migrate(database, [first, second])))

    expect(applied.flat().sort()).toEqual(['0001-first', '0002-second'])
  })

  it('are applied all or not at all', async () => {
    await using test = await open([])

    await expect(migrate(test.database, [first, broken])).rejects.toMatchObject({
      code: 'DATABASE_SCHEMA_MISMATCH',
      message: 'migration 0003-broken cannot be applied, and nothing was: relation "nowhere" does not exist',
      details: { migration: '0003-broken', sqlstate: '42P01' },
    })
    expect(await pendingMigrations(test.database, [first, second])).toEqual([first, second])
    expect(await test.database.query(`select to_regclass('a') as a`)).toEqual([{ a: null }])
  })

  it('are refused when one that was applied reads differently now', async () => {
    await using test = await open([first])

    const edited = { ...first, sql: `${first.sql};` }

    await expect(migrate(test.database, [edited, second])).rejects.toMatchObject({
      code: 'DATABASE_SCHEMA_MISMATCH',
      details: { edited: ['0001-first'] },
    })
  })

  it('are refused by a release that does not know all that were applied', async () => {
    await using test = await open([first, second])

    await expect(pendingMigrations(test.database, [first])).rejects.toMatchObject({
      code: 'DATABASE_SCHEMA_MISMATCH',
      message: 'the database has migrations that this release does not know: 0002-second',
      details: { unknown: ['0002-second'] },
    })
  })
})
