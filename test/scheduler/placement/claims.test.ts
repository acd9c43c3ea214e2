import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import { sqlState } from '../../../src/database/sql-state.ts'
import { SevbusError } from '../../../src/errors.ts'
import type { Allocation, Selection } from '../../../src/objects/request-spec.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'

const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

function selection(host: string, attempt = 1, amounts: readonly Allocation[] = encrypted(host)): Selection {
  return { host, attempt, allocations: [...amounts], report: NO_REPORT }
}

function encrypted(host: string): readonly Allocation[] {
  return [
    { provider: host, resource_class: 'MEMORY_MB', amount: 1024, pinned: true },
    { provider: host, resource_class: 'VCPU', amount: 1 },
    { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
  ]
}

/** Notes the states of errors that a transaction is tried again for. */
function watch(database: Database, states: (string | undefined)[]): Database {
  return {
    description: database.description,
    query: (sql, params) =>
      database.query(sql, params).catch((error: unknown) => {
        if (sqlState(error)?.startsWith('40')) states.push(sqlState(error))
        throw error
      }) as never,
    transaction: (work) => database.transaction(work),
    close: () => database.close(),
  }
}

describe.each(databaseEngines)('claims on $name', ({ open }) => {
  async function openWith(...hosts: readonly string[]) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    for (const host of hosts) {
      await placement.recordHost(aHostReport(host, { vcpus: 16, slots: { 'amd-sev': 15 } }))
    }
    const used = async () =>
      Object.fromEntries(
        (await placement.hostStates()).map(({ host, root, pools, instances }) => [
          host,
          [instances, root.inventories.VCPU?.used, pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT?.used],
        ]),
      )
    return { test, placement, used, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  it('take the resources of the host and one slot of its pool', async () => {
    await using given = await openWith('cn-1', 'cn-2')

    const claimed = await given.placement.claim(randomUUID(), selection('cn-1'))

    expect(claimed).toEqual(selection('cn-1'))
    expect(await given.used()).toEqual({ 'cn-1': [1, 1, 1], 'cn-2': [0, 0, 0] })
  })

  it('are made once per try, whoever asks again and for whatever host', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-1'))

    const again = await given.placement.claim(uuid, selection('cn-2'))

    expect(again).toEqual(selection('cn-1'))
    expect(await given.placement.claimOf({ instance_uuid: uuid, attempt: 1 })).toEqual(selection('cn-1'))
    expect(await given.used()).toEqual({ 'cn-1': [1, 1, 1], 'cn-2': [0, 0, 0] })
  })

  it('are told for many tries at once, as they were at one moment: without those that are void, or have none', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const [first, second, other, gone, none] = Array.from({ length: 5 }, () => randomUUID()) as [string, ...string[]]
    for (const uuid of [first, other, gone]) await given.placement.claim(uuid as string, selection('cn-1'))
    await given.placement.claim(second as string, selection('cn-2', 2))
    await given.placement.release({ instance_uuid: gone as string, attempt: 1 })

    const claims = await given.placement.claimsOf([
      { instance_uuid: first, attempt: 1 },
      { instance_uuid: second as string, attempt: 2 },
      { instance_uuid: other as string, attempt: 2 },
      { instance_uuid: gone as string, attempt: 1 },
      { instance_uuid: none as string, attempt: 1 },
    ])

    expect(claims).toEqual(
      new Map([
        [first, selection('cn-1')],
        [second, selection('cn-2', 2)],
      ]),
    )
  })

  it('are made once when many schedulers are asked for the same try at once', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    const schedulers = await Promise.all(Array.from({ length: 4 }, () => given.test.connect()))

    const answers = await Promise.all(
      [...schedulers, ...schedulers].map((database, n) =>
        new DatabasePlacement(database).claim(uuid, selection(n % 2 ? 'cn-1' : 'cn-2')),
      ),
    )

    const [first] = answers
    expect(answers).toEqual(answers.map(() => first))
    expect(await given.used()).toEqual({ 'cn-1': [0, 0, 0], 'cn-2': [0, 0, 0], [first?.host as string]: [1, 1, 1] })
  })

  it('of a later try replace those of the earlier in one step', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-1', 1))

    await given.placement.claim(uuid, selection('cn-2', 2))

    expect(await given.used()).toEqual({ 'cn-1': [0, 0, 0], 'cn-2': [1, 1, 1] })
  })

  it('of an earlier try are void once a later one has claimed', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-2', 2))

    await expect(given.placement.claim(uuid, selection('cn-1', 1))).rejects.toMatchObject({
      code: 'STALE_ATTEMPT',
      message: `try 1 of instance ${uuid} is void: try 2 came after it`,
    })
    await expect(given.placement.claimOf({ instance_uuid: uuid, attempt: 1 })).rejects.toMatchObject({
      code: 'STALE_ATTEMPT',
    })
  })

  it('that would exceed an inventory are refused with the numbers, and change nothing', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-1', 1))
    const greedy = [{ provider: 'cn-2', resource_class: 'VCPU', amount: 16 }]
    await given.placement.claim(randomUUID(), selection('cn-2', 1, greedy))

    const refused = given.placement.claim(uuid, selection('cn-2', 2))

    await expect(refused).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
      message: '1 asked of VCPU on cn-2, which has 16 of 16 used',
      details: {
        host: 'cn-2',
        provider: 'cn-2',
        resource_class: 'VCPU',
        amount: 1,
        refusal: 'has 16 of 16 used',
        used: 16,
        capacity: 16,
        reserved: 0,
        total: 16,
      },
    })
    expect(await given.placement.claimOf({ instance_uuid: uuid, attempt: 1 })).toEqual(selection('cn-1', 1))
    expect(await given.used()).toEqual({ 'cn-1': [1, 1, 1], 'cn-2': [1, 16, 0] })
  })

  it.each([
    ['has no such inventory', { provider: 'cn-9', resource_class: 'VCPU', amount: 1 }],
    ['is given out up to 1', { provider: 'cn-1_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 2 }],
    ['is given out from 2', { provider: 'cn-1', resource_class: 'PAIRS', amount: 1 }],
    ['is given out in steps of 2', { provider: 'cn-1', resource_class: 'PAIRS', amount: 3 }],
  ])('are refused by the database of what %s', async (refusal, allocation) => {
    await using given = await openWith()
    const report = aHostReport('cn-1', { slots: { 'amd-sev': 15 } })
    const pairs = { total: 10, reserved: 0, min_unit: 2, max_unit: 10, step_size: 2, allocation_ratio: 1 }
    Object.assign(report.providers[0]?.inventories ?? {}, { PAIRS: pairs })
    await given.placement.recordHost(report)

    await expect(given.placement.claim(randomUUID(), selection('cn-1', 1, [allocation]))).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
      details: { refusal },
    })
  })

  it('given back free everything, once however often it is asked', async () => {
    await using given = await openWith('cn-1')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-1'))

    expect(await given.placement.release({ instance_uuid: uuid, attempt: 1 })).toBe('cn-1')
    expect(await given.placement.release({ instance_uuid: uuid, attempt: 1 })).toBeUndefined()
    expect(await given.used()).toEqual({ 'cn-1': [0, 0, 0] })
  })

  it('are void when a request arrives after its instance gave everything back', async () => {
    await using given = await openWith('cn-1')
    const uuid = randomUUID()
    await given.placement.release({ instance_uuid: uuid, attempt: 2 })

    await expect(given.placement.claim(uuid, selection('cn-1', 2))).rejects.toMatchObject({
      code: 'STALE_ATTEMPT',
      message: `try 2 of instance ${uuid} is void: tries up to 2 were given back`,
    })
    expect(await given.placement.claim(uuid, selection('cn-1', 3))).toEqual(selection('cn-1', 3))
  })

  it('of a later try stay when an earlier one is given back', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-2', 2))

    expect(await given.placement.release({ instance_uuid: uuid, attempt: 1 })).toBeUndefined()
    expect(await given.used()).toEqual({ 'cn-1': [0, 0, 0], 'cn-2': [1, 1, 1] })
  })

  it('of 100 who want one of 15 slots at once are granted to 15; the others learn why', async () => {
    await using given = await openWith('cn-1')
    await given.placement.recordHost(aHostReport('cn-1', { vcpus: 200, memoryMb: 1 << 20, slots: { 'amd-sev': 15 } }))
    const schedulers = await Promise.all(Array.from({ length: 3 }, () => given.test.connect()))

    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, n) => {
        const database = schedulers[n % schedulers.length] ?? given.test.database
        return new DatabasePlacement(database).claim(randomUUID(), selection('cn-1'))
      }),
    )

    const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
    expect(outcomes.length - refusals.length).toBe(15)
    expect(new Set(refusals.map((error) => (error instanceof SevbusError ? error.message : error)))).toEqual(
      new Set(['1 asked of MEM_ENCRYPTION_CONTEXT on cn-1_amd_sev, which has 15 of 15 used']),
    )
    expect(await given.used()).toEqual({ 'cn-1': [15, 15, 15] })
  })

  it('that change places with each other at once do not wait for each other', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuids = Array.from({ length: 10 }, () => randomUUID())
    const hostOf = (n: number, attempt: number) => ((n + attempt) % 2 ? 'cn-1' : 'cn-2')
    // The victim of a deadlock would be tried again, and nobody would notice.
    const states: (string | undefined)[] = []
    const watched = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const database = await given.test.connect()
        return new DatabasePlacement(watch(database, states))
      }),
    )

    await Promise.all(
      uuids.map(async (uuid, n) => {
        const placement = watched[n % watched.length] ?? given.placement
        for (const attempt of [1, 2, 3, 4]) {
          await placement.claim(uuid, selection(hostOf(n, attempt), attempt)).catch(() => {})
        }
        await placement.release({ instance_uuid: uuid, attempt: 9 })
      }),
    )

    expect(await given.used()).toEqual({ 'cn-1': [0, 0, 0], 'cn-2': [0, 0, 0] })
    expect(states).toEqual([])
  })

  it('asked for at once go together, and each is granted or refused by itself', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const uuids = Array.from({ length: 20 }, () => randomUUID())
    const tooMuch = [{ provider: 'cn-2', resource_class: 'VCPU', amount: 17 }]

    const outcomes = await Promise.allSettled(
      uuids.map((uuid, n) => given.placement.claim(uuid, n === 5 ? selection('cn-2', 1, tooMuch) : selection('cn-1'))),
    )

    const refused = outcomes.flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))
    // 15 slots of cn-1, and 5 is refused whatever happens.
    expect([refused.length, refused.includes(5)]).toEqual([5, true])
    expect(await given.used()).toEqual({ 'cn-1': [15, 15, 15], 'cn-2': [0, 0, 0] })
    expect(await given.test.database.query('select from consumers where attempt = 0')).toEqual([])
  })

  it('of a broken request do not spoil those that are asked for with it', async () => {
    await using given = await openWith('cn-1')
    const inClear = encrypted('cn-1').map(({ pinned: _, ...allocation }) => allocation)

    const outcomes = await Promise.allSettled([
      given.placement.claim(randomUUID(), selection('cn-1', 1, inClear)),
      given.placement.claim(randomUUID(), selection('cn-1')),
    ])

    expect(outcomes).toMatchObject([{ status: 'rejected', reason: { code: 'SV002' } }, { status: 'fulfilled' }])
    expect(await given.used()).toEqual({ 'cn-1': [1, 1, 1] })
  })

  it('tell the inventories as they are then, with a higher version for each change', async () => {
    await using given = await openWith('cn-1')
    const grant = () => given.placement.grant({ instance_uuid: randomUUID(), selection: selection('cn-1') })

    const before = await given.placement.hostStates()
    const versions = before.flatMap(({ root, pools }) =>
      [root, ...pools].flatMap(({ inventories }) =>
        Object.entries(inventories).map(([name, inventory]) => [name, inventory?.version ?? 0] as const),
      ),
    )

    const [first, second] = [await grant(), await grant()]

    const begun = new Map(versions)
    const of = (resource_class: string, n: number, pinned: number, used: number) => ({
      provider: resource_class === 'MEM_ENCRYPTION_CONTEXT' ? 'cn-1_amd_sev' : 'cn-1',
      resource_class,
      used,
      pinned,
      version: (begun.get(resource_class) ?? 0) + n,
    })
    const byClass = (a: { resource_class: string }, b: { resource_class: string }) =>
      a.resource_class < b.resource_class ? -1 : 1
    for (const [n, { inventories }] of [first, second].entries()) {
      const claims = n + 1
      expect(inventories.toSorted(byClass)).toEqual([
        of('MEMORY_MB', claims, claims * 1024, claims * 1024),
        of('MEM_ENCRYPTION_CONTEXT', claims, 0, claims),
        of('VCPU', claims, 0, claims),
      ])
    }
  })

  it('that go all or none leave nothing behind when one of them does not fit', async () => {
    await using given = await openWith('cn-1')
    const claims = (n: number) =>
      Array.from({ length: n }, () => ({ instance_uuid: randomUUID(), selection: selection('cn-1') }))

    const tooMany = await given.placement.claimAll(claims(16))
    const fitting = await given.placement.claimAll(claims(15))

    expect(new Set(tooMany.map((outcome) => 'message' in outcome && outcome.message))).toEqual(
      new Set(['16 asked of MEM_ENCRYPTION_CONTEXT on cn-1_amd_sev, which has 0 of 15 used']),
    )
    expect(fitting.map((outcome) => 'selection' in outcome)).toEqual(fitting.map(() => true))
    expect(await given.used()).toEqual({ 'cn-1': [15, 15, 15] })
  })

  it('keep the first hosts of their reasons by name, for whoever asks again', async () => {
    await using given = await openWith('cn-1')
    const uuid = randomUUID()
    const named = (n: number) => Array.from({ length: n }, (_, i) => ({ host: `cn-${i}`, filter: 'Uefi', reason: 'r' }))
    const report = { ...NO_REPORT, rejected: [{ filter: 'Uefi', hosts: 5 }], rejections: named(5) }

    const claimed = await given.placement.claim(uuid, { ...selection('cn-1'), report })
    const again = await given.placement.claim(uuid, selection('cn-1'))

    expect(claimed.report).toEqual(report)
    expect(again.report).toEqual({ ...report, rejections: named(3) })
  })

  it('that move to another consumer as they are stay, even where the host has less by now', async () => {
    await using given = await openWith('cn-1')
    const { database } = given.test
    const [from, to] = [randomUUID(), randomUUID()]
    await given.placement.claim(from, selection('cn-1'))
    await given.placement.claim(randomUUID(), selection('cn-1'))
    await given.placement.recordHost(aHostReport('cn-1', { vcpus: 1, slots: { 'amd-sev': 1 } }))
    await database.query(`insert into consumers (uuid, attempt) values ('${to}', 1)`)

    await database.query(`update allocations set consumer = '${to}' where consumer = '${from}'`)

    expect(await given.used()).toEqual({ 'cn-1': [2, 2, 2] })
    await expect(
      database.query(`update allocations set amount = 2 where consumer = '${to}' and resource_class = 'VCPU'`),
    ).rejects.toMatchObject({ code: 'SV001' })
  })

  it('cannot be forged: the use of an inventory moves with allocations and with nothing else', async () => {
    await using given = await openWith('cn-1')
    const { database } = given.test
    const uuid = randomUUID()
    await given.placement.claim(uuid, selection('cn-1'))
    const byHand = (sql: string) => expect(database.query(sql)).rejects

    await byHand('update inventories set used = 0').toMatchObject({ code: 'SV002' })
    await byHand('update inventories set pinned = 0').toMatchObject({ code: 'SV002' })
    await byHand(
      `insert into inventories select * from inventories on conflict (provider, resource_class) do update set used = 0`,
    ).toMatchObject({ code: 'SV002' })
    await byHand('truncate allocations').toMatchObject({ code: 'SV002' })
    await byHand('update allocations set amount = amount + 99').toMatchObject({ code: 'SV001' })
    await byHand(`delete from inventories`).toMatchObject({ code: '23503' })
    await byHand('delete from consumers').toMatchObject({ code: '23503' })
    await byHand('truncate consumers').toMatchObject({ code: 'SV002' })
    await byHand('truncate inventories').toMatchObject({ code: 'SV002' })
    await byHand(`update inventories set provider = 'cn-2' where resource_class = 'VCPU'`).toMatchObject({
      code: '23503',
    })
    await byHand(`insert into allocations values ('${randomUUID()}', 'cn-1', 'VCPU', 1)`).toMatchObject({
      code: '23503',
    })
    expect(await given.used()).toEqual({ 'cn-1': [1, 1, 1] })
  })
})
