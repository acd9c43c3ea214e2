import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { Ledger } from '../../src/billing/ledger.ts'
import { ledgerMigrations } from '../../src/billing/ledger-schema.ts'
import { recordFile } from '../../src/cli/bill-import.ts'
import { linesOf } from '../../src/cli/lines.ts'
import { INSTANCE, told } from '../billing/told.ts'
import { databaseEngines } from '../support/databases.ts'

function fileOf(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-import-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'told.ndjson')
  writeFileSync(file, text)
  return file
}

it('gives every line of a file whole, wherever a chunk of it ends', async () => {
  const lines = Array.from({ length: 4000 }, (_, n) => `${n} ${'é'.repeat(n % 300)}`)

  const read: string[] = []
  for await (const some of linesOf(fileOf(lines.join('\n')))) read.push(...some.map((line) => line.toString()))

  expect(read).toEqual(lines)
})

it('passes over what is not billed by, but for the numbers of it that are missed', async () => {
  await using db = await (databaseEngines[0] as (typeof databaseEngines)[number]).open(ledgerMigrations)
  const ledger = new Ledger(db.database)
  const notifications = [
    told('instance.power_off.start', { sequence: 3 }),
    told('instance.create.end', { sequence: 2 }),
    told('instance.power_off.start', { sequence: 5 }),
  ]
  const file = fileOf(notifications.map((each) => `${JSON.stringify(each)}\r\n\n`).join(''))
  const record = async () => {
    const recorded: unknown[] = []
    for await (const each of recordFile(file, ledger)) recorded.push(each)
    return recorded
  }
  const missed = { instance_uuid: INSTANCE, from: 3, to: 4 }

  expect(await record()).toEqual([{ notifications: 3, facts: 1, unread: 0 }])
  await ledger.followed.noteLost(missed)
  expect(await record()).toEqual([{ notifications: 3, facts: 0, unread: 0 }])
  expect(await ledger.followed.lostEvents()).toEqual([{ ...missed, from: 4 }])
})
