import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import { SevbusError } from '../../../src/errors.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

const report = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
const HOSTS = ['cn-1', 'cn-2', 'cn-3'] as const
const INSTANCES = 6

type Step =
  | {
      readonly do: 'claim'
      readonly instance: number
      readonly attempt: number
      readonly host: string
      readonly vcpus: number
    }
  | { readonly do: 'release'; readonly instance: number; readonly attempt: number }
  | { readonly do: 'report'; readonly host: string; readonly slots: number; readonly vcpus: number }

const host = fc.constantFrom(...HOSTS)
const instance = fc.nat(INSTANCES - 1)
const attempt = fc.integer({ min: 1, max: 4 })
const vcpus = fc.integer({ min: 1, max: 4 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('claim' as const), instance, attempt, host, vcpus }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), instance, attempt }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('report' as const), host, slots: fc.nat(3), vcpus }) },
)

describe.each(databaseEngines)('placement on $name, whatever happens in whatever order', ({ open, concurrent }) => {
  it('has used what is allocated, and never gives more than there is', async () => {
    await using test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)

    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { maxLength: 8 }), async (rounds) => {
        await clear(test.database)
        const uuids = Array.from({ length: INSTANCES }, () => randomUUID())
        for (const name of HOSTS) await placement.recordHost(aHostReport(name, { vcpus: 4, slots: { 'amd-sev': 2 } }))
        let before = await inventories(test.database)
        for (const round of rounds) {
          // The steps of a round happen at once.
          await Promise.all(round.map((one) => run(placement, uuids, one)))
          const after = await inventories(test.database)
          for (const [name, { used, capacity, allocated }] of after) {
            expect({ name, used }).toEqual({ name, used: allocated })
            // Above its capacity only when a report shrank it under what was given before.
            expect(used).toBeLessThanOrEqual(
              Math.max(
                capacity,
                ...capacitiesIn(name, round),
                before.get(name)?.capacity ?? 0,
                before.get(name)?.used ?? 0,
              ),
            )
          }
          expect(await brokenConsumers(test.database)).toEqual([])
          before = after
        }
      }),
      { numRuns: runs(concurrent ? 16 : 10) },
    )
  })
})

async function run(placement: DatabasePlacement, uuids: readonly string[], step: Step): Promise<void> {
  try {
    if (step.do === 'report') {
      const slots = step.slots > 0 ? { 'amd-sev': step.slots } : {}
      await placement.recordHost(aHostReport(step.host, { vcpus: step.vcpus, slots }))
    } else if (step.do === 'release') {
      await placement.release({ instance_uuid: uuids[step.instance] as string, attempt: step.attempt })
    } else {
      const allocations = [
        { provider: step.host, resource_class: 'VCPU', amount: step.vcpus },
        { provider: `${step.host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
      ]
      const selection = { host: step.host, attempt: step.attempt, allocations, report }
      await placement.claim(uuids[step.instance] as string, selection)
    }
  } catch (error) {
    // The typed refusals are what should happen; anything else is a defect.
    if (!(error instanceof SevbusError) || !['CLAIM_REFUSED', 'STALE_ATTEMPT'].includes(error.code)) throw error
  }
}

function capacitiesIn(name: string, round: readonly Step[]): readonly number[] {
  return round.flatMap((step) => (step.do === 'report' && name.startsWith(step.host) ? [step.slots, step.vcpus] : []))
}

async function clear(database: Database): Promise<void> {
  await database.query(`delete from allocations; delete from consumers; delete from inventories;
    delete from resource_providers; delete from compute_hosts`)
}

async function inventories(database: Database) {
  const rows = await database.query<{ name: string; used: number; capacity: number; allocated: number }>(
    `select i.provider || '/' || i.resource_class as name, i.used, inventory_capacity(i) as capacity,
            (select coalesce(sum(a.amount), 0) from allocations a
              where a.provider = i.provider and a.resource_class = i.resource_class) as allocated
       from inventories i where i.resource_class in ('VCPU', 'MEM_ENCRYPTION_CONTEXT')`,
  )
  return new Map(rows.map(({ name, ...numbers }) => [name, numbers]))
}

/** A consumer has a host and both allocations there, or neither; and a void try holds nothing. */
function brokenConsumers(database: Database) {
  return database.query(
    `select c.* from consumers c
      where (select count(*) from allocations a where a.consumer = c.uuid)
              <> case when c.host is null then 0 else 2 end
         or exists (select from allocations a join resource_providers p on p.name = a.provider
                     where a.consumer = c.uuid and p.host <> c.host)
         or (c.host is not null and c.attempt <= c.void_through)`,
  )
}
