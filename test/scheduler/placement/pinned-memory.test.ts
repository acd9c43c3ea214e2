import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { migrate } from '../../../src/database/migrate.ts'
import type { Allocation, Selection } from '../../../src/objects/request-spec.ts'
import { fitsBesidePinned } from '../../../src/scheduler/host-state.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
const SLOT: Allocation = { provider: 'cn-1_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }

const memory = (amount: number, pinned: boolean): Allocation => ({
  provider: 'cn-1',
  resource_class: 'MEMORY_MB',
  amount,
  ...(pinned && { pinned }),
})
const selection = (...allocations: Allocation[]): Selection => ({
  host: 'cn-1',
  attempt: 1,
  allocations,
  report: NO_REPORT,
})
const encrypted = (amount: number) => selection(memory(amount, true), SLOT)
const inClear = (amount: number) => selection(memory(amount, false))

describe.each(databaseEngines)('memory that is pinned, on $name', ({ open, concurrent }) => {
  async function openHost(host: { memoryMb: number; ramRatio: number; reserved?: number }) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    const offer = async (ramRatio: number) => {
      const report = aHostReport('cn-1', { memoryMb: host.memoryMb, ramRatio, slots: { 'amd-sev': 100 } })
      const inventory = report.providers[0]?.inventories.MEMORY_MB
      if (inventory !== undefined) inventory.reserved = host.reserved ?? 0
      return placement.recordHost(report)
    }
    await offer(host.ramRatio)
    const memoryState = async () => {
      const state = (await placement.hostStates())[0]?.root.inventories.MEMORY_MB
      if (state === undefined) throw new Error('the host reports memory')
      return state
    }
    const claim = (wanted: Selection) => placement.claim(randomUUID(), wanted)
    return { test, placement, offer, memoryState, claim, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  it('is taken from what is really there, and only the rest is lent out more than once', async () => {
    await using host = await openHost({ memoryMb: 65_536, ramRatio: 1.5 })
    await host.claim(encrypted(32_768))

    await host.claim(inClear(49_152))

    expect(await host.memoryState()).toMatchObject({ used: 81_920, pinned: 32_768, capacity: 98_304 })
    for (const more of [encrypted(1), inClear(1)]) {
      await expect(host.claim(more)).rejects.toMatchObject({
        code: 'CLAIM_REFUSED',
        message:
          '1 asked of MEMORY_MB on cn-1, which has 81920 of 98304 used, 32768 of it pinned, and does not overcommit what is pinned',
        details: { used: 81_920, pinned: 32_768, capacity: 98_304, total: 65_536 },
      })
    }
  })

  it('leaves alone what is reserved for the host, and fills the rest to the last MiB', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 1.1, reserved: 100 })

    await host.claim(encrypted(900))

    await expect(host.claim(encrypted(1))).rejects.toMatchObject({ code: 'CLAIM_REFUSED' })
    await expect(host.claim(inClear(1))).rejects.toMatchObject({ code: 'CLAIM_REFUSED' })
    expect(await host.memoryState()).toMatchObject({ used: 900, pinned: 900, capacity: 990 })
  })

  it('is given back as such', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 2 })
    const uuid = randomUUID()
    await host.placement.claim(uuid, encrypted(600))
    await host.placement.claim(uuid, { ...encrypted(800), attempt: 2 })
    expect(await host.memoryState()).toMatchObject({ used: 800, pinned: 800 })

    await host.placement.release({ instance_uuid: uuid, attempt: 2 })

    expect(await host.memoryState()).toMatchObject({ used: 0, pinned: 0 })
  })

  it('is told with the claim, to whoever asks for it again', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 1 })
    const uuid = randomUUID()

    const claimed = await host.placement.claim(uuid, encrypted(600))

    expect(claimed.allocations).toEqual([memory(600, true), SLOT])
    expect(await host.placement.claimOf({ instance_uuid: uuid, attempt: 1 })).toEqual(claimed)
  })

  it('is what an encrypted guest has, with one slot: the database takes nothing else, in whatever order', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 1 })
    const { database } = host.test
    const otherPool = aHostReport('cn-1', { memoryMb: 1000, slots: { 'amd-sev': 5, 'amd-sev-es': 5 } })
    await host.placement.recordHost(otherPool)
    const uuid = randomUUID()
    await host.placement.claim(uuid, selection(SLOT))

    await expect(host.claim(selection(memory(100, false), SLOT))).rejects.toMatchObject({ code: 'SV002' })
    await expect(host.claim(selection(SLOT, { ...SLOT, provider: 'cn-1_amd_sev_es' }))).rejects.toMatchObject({
      code: '23505',
    })
    const later = `insert into allocations (consumer, provider, resource_class, amount, pinned)
      values ('${uuid}', 'cn-1', 'MEMORY_MB', 100, false)`
    await expect(database.query(later)).rejects.toMatchObject({ code: 'SV002' })
    expect(await host.memoryState()).toMatchObject({ used: 0, pinned: 0 })
  })

  it('is reported when a host begins to overcommit it or lends out more than it has left', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 2 })
    await host.claim(encrypted(500))
    await host.claim(inClear(1000))

    const { overcommitted } = await host.offer(1.5)

    expect(overcommitted).toEqual([
      { provider: 'cn-1', resource_class: 'MEMORY_MB', used: 1500, pinned: 500, capacity: 1500, offered: true },
    ])
  })

  it('is never more than there is, however many schedulers claim at once', async () => {
    await using host = await openHost({ memoryMb: 1000, ramRatio: 3 })
    const schedulers = await Promise.all(Array.from({ length: concurrent ? 8 : 1 }, () => host.test.connect()))

    await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) => {
        const placement = new DatabasePlacement(schedulers[n % schedulers.length] ?? host.test.database)
        return placement.claim(randomUUID(), n % 2 ? encrypted(130) : inClear(130))
      }),
    )

    const { used, pinned } = await host.memoryState()
    expect(pinned).toBeLessThanOrEqual(1000)
    expect(used - pinned).toBeLessThanOrEqual((1000 - pinned) * 3)
    // Nobody was refused who would have fitted.
    expect(used - pinned + 130).toBeGreaterThan((1000 - pinned) * 3 - 3 * 130)
  })

  it('is counted by the filters as by the database', async () => {
    const guest = fc.record({ amount: fc.integer({ min: 1, max: 700 }), isPinned: fc.boolean() })
    const ratio = fc.constantFrom(0.5, 0.9, 1, 1.1, 1.5, 4 / 3, 16)

    await fc.assert(
      fc.asyncProperty(ratio, fc.nat(200), fc.array(guest, { maxLength: 8 }), async (ramRatio, reserved, guests) => {
        await using host = await openHost({ memoryMb: 1000, ramRatio, reserved })
        for (const { amount, isPinned } of guests) {
          const state = await host.memoryState()
          const expected = state.used + amount <= state.capacity && fitsBesidePinned(state, amount, isPinned)

          const claimed = await host.claim(selection(memory(amount, isPinned))).then(
            () => true,
            () => false,
          )

          expect(claimed).toBe(expected)
        }
      }),
      { numRuns: runs(8) },
    )
  })

  it('is counted from the first on where guests live since before it was', async () => {
    await using test = await open(placementMigrations.slice(0, 1))
    const [sev, clear] = [randomUUID(), randomUUID()]
    await test.database.query(`
      insert into compute_hosts values ('cn-1', '{}', 'cn-1', 10, 'd', true, now(), false, null);
      insert into resource_providers values ('cn-1', 'cn-1', null), ('cn-1_amd_sev', 'cn-1', 'cn-1');
      insert into inventories (provider, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio)
        values ('cn-1', 'MEMORY_MB', 1000, 0, 1, 1000, 1, 2), ('cn-1_amd_sev', 'MEM_ENCRYPTION_CONTEXT', 5, 0, 1, 1, 1, 1);
      insert into consumers (uuid, attempt, host) values ('${sev}', 1, 'cn-1'), ('${clear}', 1, 'cn-1');
      insert into allocations (consumer, provider, resource_class, amount) values
        ('${sev}', 'cn-1', 'MEMORY_MB', 800), ('${sev}', 'cn-1_amd_sev', 'MEM_ENCRYPTION_CONTEXT', 1),
        ('${clear}', 'cn-1', 'MEMORY_MB', 900)`)

    await migrate(test.database, placementMigrations)

    const counted = () =>
      test.database.query('select resource_class, used, pinned from inventories order by resource_class')
    expect(await counted()).toEqual([
      { resource_class: 'MEMORY_MB', used: 1700, pinned: 800 },
      { resource_class: 'MEM_ENCRYPTION_CONTEXT', used: 1, pinned: 0 },
    ])
    await test.database.query('delete from allocations')
    expect(await counted()).toMatchObject([
      { used: 0, pinned: 0 },
      { used: 0, pinned: 0 },
    ])
  })
})
