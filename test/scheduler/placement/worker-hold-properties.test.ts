import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import { SevbusError } from '../../../src/errors.ts'
import { type HostReport, SEQUENCES_PER_START } from '../../../src/objects/host-report.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

const IDS = [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`)

type Step =
  /** `late`: so many numbers before the newest of this worker. */
  | { readonly do: 'report'; readonly who: number; readonly late: number; readonly note: boolean }
  | { readonly do: 'restart' | 'leave'; readonly who: number }
  | { readonly do: 'down' }

const who = fc.nat(IDS.length - 1)
const late = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('report' as const), who, late, note: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'leave' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('down' as const) }) },
)

/** What a report tells depends on its number alone: so reports of two workers often say the same, as they do in life. */
const amountIn = (sequence: number) => 1 + (sequence % 2)

function told(n: number, sequence: number): HostReport {
  const worker = { worker_id: IDS[n] as string, sequence, machine: 'm', pid: n, clock_ms: 0 }
  const amount = amountIn(sequence)
  return { ...aHostReport('cn-1', { vcpus: amount, memoryMb: amount, diskGb: amount }), worker }
}

describe.each(databaseEngines)('three workers of one host name on $name, whatever they do at once', ({ open }) => {
  it('follow each other only after a goodbye or a death, and what is known of the host is the newest report of one of them', async () => {
    await using test = await open(placementMigrations)
    const schedulers = [test.database, await test.connect()].map((database) => new DatabasePlacement(database))

    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { maxLength: 8 }), async (rounds) => {
        await clear(test.database)
        const newest = IDS.map(() => SEQUENCES_PER_START + 10)
        let before: Known | undefined
        for (const round of rounds) {
          // The steps of a round happen at once, through two schedulers.
          await Promise.all(round.map((one, n) => run(schedulers[n % 2] as DatabasePlacement, newest, one)))
          const after = await known(test.database)
          if (after === undefined) continue
          const mayFollow = before?.isFree !== false || round.some((one) => one.do === 'leave' || one.do === 'down')
          check(after, mayFollow ? undefined : before)
          before = after
        }
      }),
      { numRuns: runs(8) },
    )
  })
})

/** @param before of the same worker, which nobody may have followed since */
function check(after: Known, before: Known | undefined): void {
  expect(after.amounts).toEqual(
    after.left ? after.amounts.map(() => after.amounts[0]) : after.amounts.map(() => amountIn(after.sequence)),
  )
  if (before === undefined) return
  expect(after.worker_id).toBe(before.worker_id)
  expect(after.sequence).toBeGreaterThanOrEqual(before.sequence)
}

async function run(placement: DatabasePlacement, newest: number[], one: Step): Promise<void> {
  if (one.do === 'down') return await placement.noteDown(['cn-1'])
  const sequence = (newest[one.who] as number) + 1
  if (one.do === 'restart')
    newest[one.who] = (Math.floor(sequence / SEQUENCES_PER_START) + 1) * SEQUENCES_PER_START + 10
  else newest[one.who] = sequence
  if (one.do === 'leave') await placement.noteLeft({ host: 'cn-1', worker_id: IDS[one.who] as string, sequence })
  if (one.do !== 'report') return
  const report = told(one.who, sequence - one.late)
  if (one.note) await placement.noteSeen([report])
  else await placement.recordHost(report).catch(expectRefusal)
}

function expectRefusal(error: unknown): void {
  if (!(error instanceof SevbusError)) throw error
  expect(['DUPLICATE_HOST', 'STALE_REPORT']).toContain(error.code)
}

async function clear(database: Database): Promise<void> {
  await database.query('delete from provider_traits')
  await database.query('delete from inventories')
  await database.query('delete from resource_providers')
  await database.query('delete from compute_hosts')
}

interface Known {
  readonly worker_id: string
  readonly sequence: number
  /** By a goodbye, which has a number and tells nothing of the host. */
  readonly left: boolean
  /** Any worker may follow. */
  readonly isFree: boolean
  readonly amounts: readonly number[]
}

async function known(database: Database): Promise<Known | undefined> {
  const [row] = await database.query<Known & { readonly down: boolean }>(
    `select worker_id, report_sequence as sequence, worker_left as left, down_since is not null as down,
            array(select total from inventories where provider = host) as amounts
       from compute_hosts`,
  )
  return row && { ...row, isFree: row.left || row.down }
}
