import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { spanOf } from '../../src/cli/bill-span.ts'
import { openLedger } from '../../src/compose/open-ledger.ts'

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
