import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import { SevbusError } from '../../../src/errors.ts'
import { heldClaims } from '../../../src/scheduler/audit/tables.ts'
import { confirmMove, revertMove } from '../../../src/scheduler/placement/moves.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

const SLOTS = 2
const HOSTS = ['cn-1', 'cn-2', 'cn-3'] as const
const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

function selection(host: string, attempt: number) {
  const allocations = [
    { provider: host, resource_class: 'MEMORY_MB', amount: 1024, pinned: true },
    { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
  ]
  return { host, attempt, allocations, report: NO_REPORT }
}

function aMove(instance_uuid: string) {
  return { instance_uuid, migration: { uuid: randomUUID(), type: 'migration' as const } }
}
type Move = ReturnType<typeof aMove>

const step = fc.record({
  do: fc.constantFrom('claim', 'move', 'move', 'move', 'confirm', 'revert', 'release'),
  instance: fc.nat(3),
  move: fc.nat(1),
  attempt: fc.integer({ min: 1, max: 5 }),
  host: fc.constantFrom(...HOSTS),
})
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

describe.each(databaseEngines)('moves on $name', ({ open, concurrent }) => {
  async function openWith(...hosts: readonly string[]) {
    const test = await open(placementMigrations)
    const { database } = test
    const placement = new DatabasePlacement(database)
    for (const host of hosts) await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': SLOTS } }))
    const claim = async (uuid: string, host: string, attempt: number, move?: Move) =>
      (await placement.grant({ instance_uuid: uuid, selection: selection(host, attempt), migration: move?.migration }))
        .selection
    const used = async () =>
      Object.fromEntries(
        (await placement.hostStates()).map(({ host, pools, instances }) => [
          host,
          [instances, pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT?.used],
        ]),
      )
    const uuid = randomUUID()
    return { database, placement, claim, used, uuid, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  async function moving() {
    const given = await openWith('cn-1', 'cn-2', 'cn-3')
    const move = aMove(given.uuid)
    await given.claim(given.uuid, 'cn-1', 1)
    await given.claim(given.uuid, 'cn-2', 2, move)
    return { ...given, move }
  }

  it('hold source and destination, and the same try gets the same answer', async () => {
    await using given = await moving()

    expect(await given.claim(given.uuid, 'cn-3', 2, given.move)).toEqual(selection('cn-2', 2))
    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [1, 1], 'cn-3': [0, 0] })
  })

  it('that are confirmed give the source back, and stay so', async () => {
    await using given = await moving()

    const ends = [
      await confirmMove(given.database, given.move),
      await confirmMove(given.database, given.move),
      await revertMove(given.database, given.move),
    ]

    expect(ends).toEqual(['cn-1', undefined, undefined])
    expect(await given.used()).toEqual({ 'cn-1': [0, 0], 'cn-2': [1, 1], 'cn-3': [0, 0] })
    expect(await given.claim(given.uuid, 'cn-3', 2, given.move)).toEqual(selection('cn-2', 2))
  })

  it('that are reverted give the source back to the instance, and stay so', async () => {
    await using given = await moving()

    const ends = [
      await revertMove(given.database, given.move),
      await revertMove(given.database, given.move),
      await confirmMove(given.database, given.move),
    ]

    expect(ends).toEqual(['cn-1', undefined, undefined])
    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [0, 0], 'cn-3': [0, 0] })
    expect(await given.placement.claimOf({ instance_uuid: given.uuid, attempt: 1 })).toEqual(selection('cn-1', 1))
    await expect(given.claim(given.uuid, 'cn-2', 2, given.move)).rejects.toMatchObject({
      message: `try 2 of instance ${given.uuid} is void: migration ${given.move.migration.uuid} is reverted`,
    })
  })

  it('keep their source when a later try of the same move goes elsewhere', async () => {
    await using given = await moving()

    await given.claim(given.uuid, 'cn-3', 3, given.move)

    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [0, 0], 'cn-3': [1, 1] })
    expect(await revertMove(given.database, given.move)).toBe('cn-1')
    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [0, 0], 'cn-3': [0, 0] })
  })

  it('that are refused leave everything as it was, alone and in a group', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.claim(given.uuid, 'cn-1', 1)
    for (let n = 0; n < SLOTS; n++) await given.claim(randomUUID(), 'cn-2', 1)
    const move = aMove(given.uuid)

    const alone = await given.claim(given.uuid, 'cn-2', 2, move).catch(({ code }) => code)
    const together = await Promise.all([
      given.claim(given.uuid, 'cn-2', 2, move).catch(({ code }) => code),
      given.claim(randomUUID(), 'cn-1', 1).then(({ host }) => host),
    ])

    expect([alone, ...together]).toEqual(['CLAIM_REFUSED', 'CLAIM_REFUSED', 'cn-1'])
    expect(await given.used()).toEqual({ 'cn-1': [2, 2], 'cn-2': [2, 2] })
    expect(await given.placement.claimOf({ instance_uuid: given.uuid, attempt: 1 })).toEqual(selection('cn-1', 1))
    expect(await given.database.query('select uuid from consumers where instance is not null')).toEqual([])
  })

  it('end with their instance, whose release gives both back', async () => {
    await using given = await moving()

    await given.placement.release({ instance_uuid: given.uuid, attempt: 2 })

    expect(await given.used()).toEqual({ 'cn-1': [0, 0], 'cn-2': [0, 0], 'cn-3': [0, 0] })
    expect(await revertMove(given.database, given.move)).toBeUndefined()
  })

  it('do not give a source back to an instance whose try there was given back meanwhile', async () => {
    await using given = await moving()

    await given.placement.release({ instance_uuid: given.uuid, attempt: 1 })
    await revertMove(given.database, given.move)

    expect(await given.used()).toEqual({ 'cn-1': [0, 0], 'cn-2': [0, 0], 'cn-3': [0, 0] })
  })

  it('that are reverted before their claim comes find it void', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const move = aMove(given.uuid)
    await given.claim(given.uuid, 'cn-1', 1)
    await revertMove(given.database, move)

    await expect(given.claim(given.uuid, 'cn-2', 2, move)).rejects.toMatchObject({ code: 'STALE_ATTEMPT' })
    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [0, 0] })
  })

  it('are one at a time of an instance, and of one instance only', async () => {
    await using given = await moving()
    const other = randomUUID()

    const second = given.claim(given.uuid, 'cn-3', 3, aMove(given.uuid))
    await expect(second).rejects.toMatchObject({
      message: `try 3 of instance ${given.uuid} is void: migration ${given.move.migration.uuid} must be confirmed or reverted first`,
    })
    await expect(given.claim(other, 'cn-3', 1, given.move)).rejects.toMatchObject({
      message: `try 1 of instance ${other} is void: migration ${given.move.migration.uuid} is not its own`,
    })
    expect(await given.used()).toEqual({ 'cn-1': [1, 1], 'cn-2': [1, 1], 'cn-3': [0, 0] })
  })

  it('are told to an audit with their instance', async () => {
    await using given = await moving()

    const held = (await heldClaims(given.database)).map(({ consumer, instance, host }) => ({
      consumer,
      instance,
      host,
    }))

    expect(held.toSorted((a, b) => (a.host < b.host ? -1 : 1))).toEqual([
      { consumer: given.move.migration.uuid, instance: given.uuid, host: 'cn-1' },
      { consumer: given.uuid, instance: given.uuid, host: 'cn-2' },
    ])
  })

  it('lose nothing and exceed nothing, whatever happens at once, in whatever order and how often', async () => {
    await using given = await openWith(...HOSTS)
    const { database, placement, claim } = given

    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 8 }), async (rounds) => {
        const uuids = Array.from({ length: 4 }, () => randomUUID())
        const moves = uuids.map((uuid) => [aMove(uuid), aMove(uuid)])
        for (const uuid of uuids.slice(0, 3)) await claim(uuid, 'cn-1', 1).catch(() => claim(uuid, 'cn-2', 1))
        for (const round of rounds) {
          await Promise.all(round.map((one) => run(given, one, uuids, moves)))
          expect(await broken(database)).toEqual([])
        }
        for (const uuid of uuids) await placement.release({ instance_uuid: uuid, attempt: 9 })
        expect(Object.values(await given.used())).toEqual(HOSTS.map(() => [0, 0]))
      }),
      { numRuns: runs(concurrent ? 24 : 12) },
    )
  }, 60_000)
})

interface Given {
  readonly database: Database
  readonly placement: DatabasePlacement
  claim(uuid: string, host: string, attempt: number, move?: Move): Promise<unknown>
}

async function run(
  { database, placement, claim }: Given,
  { do: what, instance, move: which, host, attempt }: Step,
  uuids: readonly string[],
  moves: readonly (readonly Move[])[],
): Promise<void> {
  const uuid = uuids[instance] as string
  const move = moves[instance]?.[which] as Move
  if (what === 'confirm') await confirmMove(database, move)
  else if (what === 'revert') await revertMove(database, move)
  else if (what === 'release') await placement.release({ instance_uuid: uuid, attempt: Math.ceil(attempt / 2) })
  else await claim(uuid, host, attempt, what === 'move' ? move : undefined).catch(expected)
}

function expected(error: unknown): void {
  if (!(error instanceof SevbusError) || !['CLAIM_REFUSED', 'STALE_ATTEMPT'].includes(error.code)) throw error
}

/** Inventories above their capacity or beside their allocations; consumers that have half, or have it elsewhere. */
function broken(database: Database) {
  return database.query(
    `select i.provider as what from inventories i
      where i.used > inventory_capacity(i)
         or i.used <> (select coalesce(sum(a.amount), 0) from allocations a
                        where (a.provider, a.resource_class) = (i.provider, i.resource_class))
     union all
     select c.uuid::text from consumers c
      where (select count(*) from allocations a where a.consumer = c.uuid) <> case when c.host is null then 0 else 2 end
         or exists (select from allocations a join resource_providers p on p.name = a.provider
                     where a.consumer = c.uuid and p.host <> c.host)
         or c.migration_status = 'open' and c.host is not null
            and not exists (select from consumers i where i.uuid = c.instance and i.host is not null)`,
  )
}
