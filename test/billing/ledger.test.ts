import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { checkLedger } from '../../src/billing/check-ledger.ts'
import { type InstanceFacts, Ledger } from '../../src/billing/ledger.ts'
import { ledgerMigrations } from '../../src/billing/ledger-schema.ts'
import { parseRateCard } from '../../src/billing/rate-card.ts'
import { readFact } from '../../src/billing/read-fact.ts'
import { recordNotifications } from '../../src/billing/record-notifications.ts'
import { statementOf } from '../../src/billing/statement.ts'
import type { UsageFact } from '../../src/billing/usage-fact.ts'
import { migrate } from '../../src/database/migrate.ts'
import type { AnyNotification } from '../../src/notifications/notification.ts'
import { databaseEngines } from '../support/databases.ts'
import { INSTANCE, told } from './told.ts'

const uuid = (n: number) => `178b0921-8f85-4257-88b6-${n.toString(16).padStart(12, '0')}`
const span = { from: null, to: '2026-12-01T00:00:00Z' }

describe.each(databaseEngines)('the ledger on $name', ({ open }) => {
  it('has each notification once, however often it comes, and whoever brings it', async () => {
    await using db = await open(ledgerMigrations)
    const [one, other] = [new Ledger(await db.connect()), new Ledger(await db.connect())]
    const notifications = Array.from({ length: 50 }, (_, n) => told('instance.create.end', { uuid: uuid(n) }))

    const results = await Promise.all([
      recordNotifications(one, notifications),
      recordNotifications(other, notifications.toReversed()),
      recordNotifications(one, [...notifications, ...notifications]),
    ])

    expect(results.reduce((sum, { facts }) => sum + facts, 0)).toBe(50)
    expect(await recordNotifications(one, notifications)).toEqual({ notifications: 50, facts: 0, unread: 0 })
  })

  it('gives all instances with all their facts, page after page', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const began = Array.from({ length: 25 }, (_, n) => told('instance.create.end', { uuid: uuid(n) }))
    const ended = began.map((_, n) =>
      told('instance.delete.end', { uuid: uuid(n), terminated_at: '2026-11-02T00:00:00Z' }),
    )
    await recordNotifications(ledger, [...began, ...ended])

    const pages: InstanceFacts[] = []
    for await (const page of ledger.instances(3)) pages.push(page)

    expect(pages.map(({ instance_uuid }) => instance_uuid)).toEqual(Array.from({ length: 25 }, (_, n) => uuid(n)))
    expect(pages.map(({ facts }) => facts.map(({ kind }) => kind).sort())).toEqual(Array(25).fill(['begins', 'ends']))
  })

  it('keeps what it cannot read, whole, until a later release can', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const broken = { ...told('instance.create.end', { message_id: 'm-1' }), payload: { odd: '\u0000' } }

    expect(await recordNotifications(ledger, [broken])).toEqual({ notifications: 1, facts: 0, unread: 1 })
    expect(await ledger.unread()).toEqual([
      {
        message_id: 'm-1',
        event_type: 'instance.create.end',
        reason: expect.stringContaining('payload.nova_object.data'),
      },
    ])
    expect(await ledger.unreadNotifications(10)).toEqual([broken])

    await recordNotifications(ledger, [told('instance.create.end', { message_id: 'm-1' })])
    expect(await ledger.unread()).toEqual([])
  })

  it('names what comes under one id with other contents, and the instances that share one, which are billed, each of them', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const one = told('instance.create.end', { message_id: 'm-1', host: 'node1' })
    const other = told('instance.create.end', { message_id: 'm-1', host: 'node2' })
    const shared = told('instance.create.end', { message_id: 'm-1', uuid: uuid(5) })
    const nameless = [1, 2].map((n) => ({
      ...told('instance.create.end', { uuid: uuid(n), sequence: 4 }),
      message_id: null,
    }))

    await recordNotifications(ledger, [one, one, other, shared, ...nameless])
    await recordNotifications(ledger, [one, shared, told('instance.power_off.end', { message_id: 'm-1' })])

    const hosts = new Map<string, unknown>()
    for await (const { instance_uuid, facts } of ledger.instances())
      hosts.set(
        instance_uuid,
        facts.map(({ charged: { host } }) => host),
      )
    expect(hosts).toEqual(
      new Map(
        [
          [INSTANCE, ['node1']],
          [uuid(5), ['node1']],
        ].sort() as never,
      ),
    )
    expect(await ledger.sharedIds()).toEqual([{ message_id: 'm-1', instances: [INSTANCE, uuid(5)].sort() }])
    expect((await checkLedger(ledger)).sharedIds).toHaveLength(1)
    const unread = await ledger.unread()
    expect(unread.map(({ event_type }) => event_type).sort()).toEqual([
      ...['instance.create.end', 'instance.create.end', 'instance.create.end', 'instance.power_off.end'],
    ])
    expect(unread.map(({ message_id }) => message_id.replace(/otherwise: .*$/, 'otherwise')).sort()).toEqual([
      ...['m-1, otherwise', 'm-1, otherwise'],
      ...[1, 2].map((n) => `none, instance.create.end of ${uuid(n)}, number 4, at 2026-11-01 00:00:00.000000`),
    ])
    expect(
      unread.filter(({ reason }) => reason.includes('"host":"node1"') && reason.includes('"host":"node2"')),
    ).toHaveLength(1)
    expect(unread.filter(({ reason }) => reason.includes('kind was "begins" and is "changes"'))).toHaveLength(1)
  })

  it('names what comes under one id with other contents once, be it twice in what is stored together', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const one = told('instance.create.end', { message_id: 'm-1', host: 'node1' })
    const other = told('instance.create.end', { message_id: 'm-1', host: 'node2' })

    expect(await recordNotifications(ledger, [one, other, other])).toEqual({ notifications: 3, facts: 1, unread: 0 })
    expect(await ledger.unread()).toHaveLength(1)
  })

  it('takes for a period that a host has told of none that was told with an operation, be it as long', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const hour = ['2026-11-01T00:00:00Z', '2026-11-01T01:00:00Z'] as const

    await recordNotifications(ledger, [
      told('instance.exists', { period: hour, request_id: 'req-1' }),
      told('instance.exists', { period: hour, model: 'nova', request_id: 'req-1', initiator: 'ada' }),
    ])
    expect(await ledger.auditedPeriods()).toEqual([])
    await recordNotifications(ledger, [
      told('instance.exists', { period: hour }),
      told('instance.exists', { period: hour, model: 'nova', request_id: 'req-2', host: 'nova1' }),
    ])
    expect(await ledger.auditedPeriods()).toEqual(
      ['node1', 'nova1'].map((host) => ({ host, beginning: hour[0], ending: hour[1] })),
    )
  })

  it('sets a fact aside that no bill can be made of, by name, and gives all others', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    await recordNotifications(ledger, [
      told('instance.create.end', { message_id: 'm-1', uuid: uuid(1) }),
      told('instance.create.end', { message_id: 'm-2', uuid: uuid(2) }),
    ])
    await db.database.query(
      `update usage_facts set fact = replace(fact, '"m1.sev",2', '"m1.sev",1.5') where message_id = 'm-1'`,
    )

    for (const _ of ['first', 'again']) {
      const uuids: string[] = []
      for await (const { instance_uuid } of ledger.instances()) uuids.push(instance_uuid)
      expect(uuids).toEqual([uuid(2)])
      expect(await ledger.unread()).toEqual([
        {
          ...{ message_id: 'm-1', event_type: 'instance.create.end' },
          reason: expect.stringContaining('fact: charged.flavor.vcpus: '),
        },
      ])
    }
  })

  it('of a release that took uuids in capitals for others has each instance once, and what clashes by its name', async () => {
    await using db = await open(ledgerMigrations.slice(0, 2))
    const capitals = INSTANCE.toUpperCase()
    const fact = (host: string) => toFact(told('instance.create.end', { host }))
    await db.database.query(`insert into usage_facts select * from unnest($1::text[], $2::text[], $3::text[])`, [
      [capitals, capitals, capitals, INSTANCE, INSTANCE],
      ['m-1', 'm-2', 'm-3', 'm-2', 'm-3'],
      [fact('node1'), fact('node1'), fact('node2'), fact('node1'), fact('node1')],
    ])
    await db.database.query(`insert into event_positions values ('${capitals}', 7), ('${INSTANCE}', 5), ('B', 2)`)
    await db.database.query(
      `insert into lost_events values ('${capitals}', 3, 4), ('${INSTANCE}', 3, 3), ('${capitals}', 6, 6)`,
    )
    await db.database.query(
      `insert into unread_notifications values ('m-9, otherwise: kind', '', 'odd', '{"payload": {"event_type": "instance.power_off.end"}}')`,
    )

    await migrate(db.database, ledgerMigrations)

    const ledger = new Ledger(db.database)
    const found: unknown[] = []
    for await (const { instance_uuid, facts } of ledger.instances())
      found.push(instance_uuid, ...facts.map(({ message_id, charged: { host } }) => [message_id, host]))
    expect(found).toEqual([INSTANCE, ['m-1', 'node1'], ['m-2', 'node1'], ['m-3', 'node1']])
    expect((await ledger.unread()).map(({ message_id, event_type }) => [message_id, event_type]).sort()).toEqual([
      [`m-3, otherwise: of ${capitals}`, 'instance.create.end'],
      ['m-9, otherwise: kind', 'instance.power_off.end'],
    ])
    expect(await ledger.unreadNotifications(2)).toContainEqual(
      expect.objectContaining({ message_id: 'm-3', event_type: null, payload: JSON.parse(fact('node2')) }),
    )
    expect(await ledger.followed.positions.read([INSTANCE, 'b'])).toEqual(
      new Map([
        [INSTANCE, { sequence: 7, message_id: null }],
        ['b', { sequence: 2, message_id: null }],
      ]),
    )
    expect(await ledger.followed.lostEvents()).toEqual([
      { instance_uuid: INSTANCE, from: 3, to: 4 },
      { instance_uuid: INSTANCE, from: 6, to: 6 },
    ])
  })

  it('no longer tells of what was lost and came after all', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    await ledger.followed.noteLost({ instance_uuid: INSTANCE, from: 3, to: 7 })

    await recordNotifications(ledger, [told('instance.power_off.start', { sequence: 5 })])
    expect(await ledger.followed.lostEvents()).toEqual([
      { instance_uuid: INSTANCE, from: 3, to: 4 },
      { instance_uuid: INSTANCE, from: 6, to: 7 },
    ])
    await recordNotifications(
      ledger,
      [3, 4, 6, 7].map((sequence) => told('instance.power_off.end', { sequence })),
    )
    expect(await ledger.followed.lostEvents()).toEqual([])
  })

  it('knows whose numbers were given twice, and which two it bills by one number', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const told_ = { instance_uuid: INSTANCE, reached: 6, last_sequence: 4 }
    await recordNotifications(ledger, [
      told('instance.create.end', { sequence: 3 }),
      told('instance.power_off.end', { message_id: 'm-1', sequence: 4, at: '2026-11-01T01:00:00Z' }),
      told('instance.delete.end', { message_id: 'm-2', sequence: 4, terminated_at: '2026-11-01T02:00:00Z' }),
    ])
    for (const _ of ['told', 'again']) await ledger.followed.noteCountedBack(told_)

    const { countedBack, disagreements } = await checkLedger(ledger)
    expect(countedBack).toEqual([{ ...told_, noted_at: expect.any(Date) }])
    const text =
      '4 is the number of instance.power_off.end at 2026-11-01T01:00:00Z and of instance.delete.end at 2026-11-01T02:00:00Z: ' +
      'both are billed'
    expect(disagreements).toEqual([{ kind: 'number twice', instance_uuid: INSTANCE, text }])
  })

  it('stores names that no database takes as they are, and is not held up by them', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)

    const odd = [
      told('instance.create.end', { host: 'a\u0000\ud800', message_id: 'm\u0000' }),
      { ...told('instance.create.end'), message_id: null },
    ]
    expect(await recordNotifications(ledger, odd)).toEqual({ notifications: 2, facts: 1, unread: 1 })
  })

  it('knows which periods hosts have told of', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const period = ['2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'] as const
    await recordNotifications(ledger, [told('instance.exists', { period }), told('instance.exists', { period })])

    // With a resize Nova tells of the period that has begun, and of that instance alone.
    const begun = ['2026-12-01T00:00:00Z', '2026-12-01T08:00:00Z'] as const
    await recordNotifications(ledger, [told('instance.exists', { period: begun })])

    expect(await ledger.auditedPeriods()).toEqual([{ host: 'node1', beginning: period[0], ending: period[1] }])
  })

  it('makes a statement of it: lines that are sums of records, and a total that is their sum', async () => {
    await using db = await open(ledgerMigrations)
    const ledger = new Ledger(db.database)
    const ended = { terminated_at: '2026-11-01T01:00:00Z' }
    await recordNotifications(ledger, [
      ...[0, 1].flatMap((n) => [
        told('instance.create.end', { uuid: uuid(n) }),
        told('instance.delete.end', { uuid: uuid(n), ...ended }),
      ]),
      told('instance.create.end', { uuid: uuid(2), project: 'green', model: null, flavor: { name: 'tiny' } }),
      told('instance.delete.end', { uuid: uuid(2), project: 'green', model: null, flavor: { name: 'tiny' }, ...ended }),
    ])
    const text =
      'currency: EUR\ndecimals: 3\nflavors: { m1.sev: { per_hour: 1 } }\nencryption: { amd-sev: { percent: 5 } }'
    const card = parseRateCard(text, 'rates.yaml')
    const records: unknown[] = []
    const each = async ({ instance_uuid }: { instance_uuid: string }, { amount }: { amount: string | null }) =>
      void records.push([instance_uuid, amount])

    expect(await statementOf(ledger, { span, card, each })).toEqual({
      ...span,
      currency: 'EUR',
      lines: [
        {
          ...{ project_id: 'blue', flavor: 'm1.sev', model: 'amd-sev', instances: 2, seconds: 7200 },
          ...{ base: '2.000', surcharge: '0.100', amount: '2.100' },
        },
        {
          ...{ project_id: 'green', flavor: 'tiny', model: null, instances: 1, seconds: 3600 },
          ...{ base: null, surcharge: null, amount: null },
        },
      ],
      total: '2.100',
      inferred: 0,
      unpriced: ['flavors.tiny, nor default'],
    })
    expect(records).toEqual([
      [uuid(0), '1.050'],
      [uuid(1), '1.050'],
      [uuid(2), null],
    ])
    const green = await statementOf(ledger, { span, card: undefined, project: 'green' })
    expect(green).toMatchObject({ currency: null, total: null, lines: [{ project_id: 'green', amount: null }] })
  })
})

/** As releases before stored it. */
function toFact(notification: AnyNotification): string {
  const { instance_uuid, message_id, ...fact } = readFact(notification) as UsageFact
  return JSON.stringify(fact)
}

it('the rate card in the help is one', async () => {
  const { EXAMPLES } = await import('../../src/cli/help.ts')
  const text = EXAMPLES.bill.split('and is named:\n')[1]?.split('\nA shelved')[0] ?? ''
  const lines = text.split('\n').map((line) => line.slice(2).replace(/ {4,}.*$/, ''))

  expect(parseRateCard(lines.join('\n'), 'help').currency).toBe('EUR')
  expect(readFileSync('docs/operators.md', 'utf8')).toContain('sevbus bill')
})
