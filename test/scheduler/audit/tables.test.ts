import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import { heldClaims, inventories, knownHosts, nameHost } from '../../../src/scheduler/audit/tables.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { uuidOf } from './observations.ts'

const REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

describe.each(databaseEngines)("an audit's reading of the tables on $name", ({ open }) => {
  async function aCloud(database: Database) {
    const placement = new DatabasePlacement(database)
    for (const host of ['h1', 'h2']) await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': 3 } }))
    const claim = (n: number, host: string) =>
      placement.claim(uuidOf(n), {
        host,
        attempt: 2,
        allocations: [
          { provider: host, resource_class: 'VCPU', amount: n },
          { provider: host, resource_class: 'MEMORY_MB', amount: 1024, pinned: true },
          { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
        ],
        report: REPORT,
      })
    return { placement, claim }
  }

  /** Around every guard, as only a superuser can. */
  async function tamper(database: Database, sql: string): Promise<void> {
    await database.transaction(async (tx) => {
      await tx.query('alter table inventories disable trigger user')
      await tx.query(sql)
      await tx.query('alter table inventories enable trigger user')
    })
  }

  it('tells what each consumer holds on which host, by its allocations and not by its word', async () => {
    await using test = await open(placementMigrations)
    const { placement, claim } = await aCloud(test.database)
    await claim(1, 'h1')
    await claim(2, 'h2')
    await claim(3, 'h1')
    await placement.release({ instance_uuid: uuidOf(3), attempt: 2 })
    await test.database.query(`update consumers set host = 'h1' where uuid = $1`, [uuidOf(2)])

    const short = async (hosts?: readonly string[]) =>
      (await heldClaims(test.database, hosts)).map(({ consumer, host, attempt, resources }) => [
        Number(consumer.slice(-12)),
        host,
        attempt,
        resources,
      ])

    const slot = { MEMORY_MB: 1024, MEM_ENCRYPTION_CONTEXT: 1 }
    const [first, second] = [
      [1, 'h1', 2, { ...slot, VCPU: 1 }],
      [2, 'h2', 2, { ...slot, VCPU: 2 }],
    ]
    expect(await short()).toEqual([first, second])
    expect(await short(['h2'])).toEqual([second])
    expect(await knownHosts(test.database)).toEqual(['h1', 'h2'])
  })

  it('tells of a consumer that has something on one of the hosts all that it has, and of one that only says so nothing', async () => {
    await using test = await open(placementMigrations)
    const { claim } = await aCloud(test.database)
    await claim(1, 'h1')
    await test.database.query(
      `insert into allocations (consumer, provider, resource_class, amount) values ($1, 'h2', 'VCPU', 7)`,
      [uuidOf(1)],
    )
    await test.database.query(`insert into consumers (uuid, attempt, host) values ($1, 1, 'h2')`, [uuidOf(9)])

    const held = await heldClaims(test.database, ['h2'])

    expect(held.map(({ consumer, host, resources }) => [Number(consumer.slice(-12)), host, resources.VCPU])).toEqual([
      [1, 'h1', 1],
      [1, 'h2', 7],
      [9, 'h2', undefined],
    ])
  })

  it('tells what is allocated to a consumer that is not there, and makes one of it that can give it back', async () => {
    await using test = await open(placementMigrations)
    const { placement, claim } = await aCloud(test.database)
    await claim(1, 'h1')
    await test.database.transaction(async (tx) => {
      await tx.query('alter table allocations drop constraint if exists allocations_consumer_fkey')
      await tx.query('alter table consumers disable trigger user')
      await tx.query('delete from consumers')
      await tx.query('alter table consumers enable trigger user')
    })

    const resources = { VCPU: 1, MEMORY_MB: 1024, MEM_ENCRYPTION_CONTEXT: 1 }
    const orphan = {
      consumer: uuidOf(1),
      instance: uuidOf(1),
      migrationType: null,
      attempt: 0,
      host: 'h1',
      resources,
      changedAt: '',
    }
    expect(await heldClaims(test.database)).toEqual([orphan])
    expect(await heldClaims(test.database, ['h1'])).toEqual([orphan])
    expect(await heldClaims(test.database, ['h2'])).toEqual([])

    await nameHost(test.database, uuidOf(1), 'h1')
    expect(await placement.release({ instance_uuid: uuidOf(1), attempt: 1 })).toBe('h1')
    expect(await heldClaims(test.database)).toEqual([])
  })

  it('counts each inventory of slots, and any other only where it looks wrong', async () => {
    await using test = await open(placementMigrations)
    const { claim } = await aCloud(test.database)
    await claim(1, 'h1')
    const slots = { resource_class: 'MEM_ENCRYPTION_CONTEXT', model: 'amd-sev', capacity: 3, fits: true, offered: true }
    const pools = [
      { ...slots, host: 'h1', provider: 'h1_amd_sev', used: 1, allocated: 1, pinned: 0, allocated_pinned: 0 },
      { ...slots, host: 'h2', provider: 'h2_amd_sev', used: 0, allocated: 0, pinned: 0, allocated_pinned: 0 },
    ]
    expect(await inventories(test.database)).toEqual(pools)

    await tamper(test.database, `update inventories set used = 5 where provider = 'h1' and resource_class = 'VCPU'`)
    await tamper(test.database, `update inventories set total = 1 where provider = 'h2_amd_sev'`)
    await tamper(test.database, `update inventories set total = 512 where resource_class = 'MEMORY_MB' and used > 0`)

    expect(await inventories(test.database, ['h1'])).toMatchObject([
      { provider: 'h1', resource_class: 'MEMORY_MB', used: 1024, allocated: 1024, fits: false, capacity: 512 },
      { provider: 'h1', resource_class: 'VCPU', used: 5, allocated: 1, model: undefined },
      { provider: 'h1_amd_sev' },
    ])
    expect(await inventories(test.database, ['h2'])).toEqual([{ ...pools[1], capacity: 1 }])
  })
})
