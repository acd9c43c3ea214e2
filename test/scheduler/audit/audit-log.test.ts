import { describe, expect, it } from 'vitest'
import { AuditLog } from '../../../src/scheduler/audit/audit-log.ts'
import { auditMigrations } from '../../../src/scheduler/audit/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { REPORT } from './reports.ts'

describe.each(databaseEngines)('the log of audits on $name', ({ open }) => {
  it('gives an audit that is due to one of many schedulers, and the next not before the interval is over', async () => {
    await using test = await open(auditMigrations)
    const databases = await Promise.all(Array.from({ length: 5 }, () => test.connect()))
    const logs = databases.map((database, index) => new AuditLog(database, `s${index}`))

    const taken = await Promise.all(logs.map((log) => log.take(3600, 60)))
    const holder = logs[taken.indexOf(true)] as AuditLog
    await holder.record(REPORT)

    expect(taken.filter(Boolean)).toHaveLength(1)
    expect(await Promise.all(logs.map((log) => log.take(3600, 60)))).toEqual(logs.map(() => false))
    expect(await logs[0]?.take(0, 60)).toBe(true)
  })

  it('gives it to another when its holder gave up, or has not been heard of for the lease', async () => {
    await using test = await open(auditMigrations)
    const [first, second] = [new AuditLog(test.database, 's1'), new AuditLog(test.database, 's2')]

    expect(await first.take(0, 60)).toBe(true)
    await second.giveUp()
    expect(await second.take(0, 60)).toBe(false)
    await first.giveUp()
    expect(await second.take(0, 0)).toBe(true)
    expect(await first.take(0, 60)).toBe(true)
  })

  it('remembers what the last audit found, whoever made it, and does not end the lease of another', async () => {
    await using test = await open(auditMigrations)
    const [first, second] = [new AuditLog(test.database, 's1'), new AuditLog(test.database, 's2')]
    expect(await first.last()).toBeUndefined()

    await first.take(0, 60)
    await second.record(REPORT)

    expect(await first.last()).toEqual({ ageSeconds: expect.any(Number), remaining: { leak: 2 }, notJudged: 1 })
    expect(await second.take(0, 60)).toBe(false)
  })
})
