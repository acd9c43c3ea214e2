import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { spanOf } from '../../src/cli/bill-span.ts'
import { openExistingLedger, openLedger } from '../../src/compose/open-ledger.ts'
import { databaseEngines } from '../support/databases.ts'

const now = new Date('2026-11-27T12:00:00Z')

describe('the span of a bill', () => {
  it('is a month, up to now where that is in it', () => {
    expect(spanOf({ month: '2026-10' }, now)).toEqual({ from: '2026-10-01T00:00:00Z', to: '2026-11-01T00:00:00Z' })
    expect(spanOf({ month: '2026-11' }, now)).toEqual({ from: '2026-11-01T00:00:00Z', to: '2026-11-27T12:00:00Z' })
  })

  it('is none that is yet to come', () => {
    expect(() => spanOf({ month: '2026-12' }, now)).toThrow('--month "2026-12" has not begun')
    expect(() => spanOf({ from: '2026-12-01', to: '2027-01-01' }, now)).toThrow('--from "2026-12-01" is yet to come')
    expect(() => spanOf({ from: '2026-12-01' }, now)).toThrow('--from "2026-12-01" is not before --to')
  })
})

it('who has the ledger is told together with the setting that makes room for two', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-ledger-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const bill = { folder } as Parameters<typeof openLedger>[0]['bill']
  await using _ = await openLedger({ bill })

  await expect(openLedger({ bill })).rejects.toThrow('use a PostgreSQL server (bill.database_url)')
})

describe('a bill that is asked for where no ledger is', () => {
  it('is refused with the folder and what to do, and makes nothing there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sevbus-ledger-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const bill = { folder: join(folder, 'typo') } as Parameters<typeof openLedger>[0]['bill']

    await expect(openExistingLedger({ bill })).rejects.toMatchObject({
      code: 'LEDGER_NOT_FOUND',
      message: expect.stringContaining(
        `there is no ledger in ${bill.folder}; give bill.folder as "sevbus bill run" has it`,
      ),
      details: { setting: 'bill.folder', place: bill.folder, fix: expect.stringContaining('sevbus bill import') },
    })
    expect(readdirSync(folder)).toEqual([])
  })

  it('is refused with the database that is another one, and changes nothing in it', async () => {
    await using db = await (databaseEngines[1] as (typeof databaseEngines)[number]).open([])
    const [row] = await db.database.query<{ name: string }>('select current_database() as name')
    const url = new URL(inject('databaseUrl'))
    url.pathname = `/${row?.name}`
    const bill = { database_url: url.href } as Parameters<typeof openLedger>[0]['bill']

    await expect(openExistingLedger({ bill })).rejects.toMatchObject({
      code: 'LEDGER_NOT_FOUND',
      message: expect.stringContaining(`/${row?.name}; give bill.database_url as "sevbus bill run" has it`),
      details: { setting: 'bill.database_url' },
    })
    expect(await db.database.query(`select to_regclass('sevbus_migrations') as made`)).toEqual([{ made: null }])
  })
})
