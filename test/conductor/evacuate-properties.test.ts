import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { databaseEngines } from '../support/databases.ts'
import { plainFlavor } from '../support/requests.ts'
import { runs } from '../support/runs.ts'
import { DECISIONS, EvacuatingCloud, HOSTS, ORDERS, RENEWALS, STEPS } from './evacuating-cloud.ts'

const step = fc.record({
  do: fc.oneof(
    { weight: 5, arbitrary: fc.constant('deliver' as const) },
    { weight: 2, arbitrary: fc.constant('evacuate' as const) },
    { weight: 4, arbitrary: fc.constantFrom(...STEPS) },
    { weight: 3, arbitrary: fc.constantFrom(...DECISIONS) },
    { weight: 1, arbitrary: fc.constantFrom(...RENEWALS) },
    { weight: 1, arbitrary: fc.constant('live-migrate' as const) },
    { weight: 1, arbitrary: fc.constantFrom(...ORDERS) },
  ),
  which: fc.nat(1000),
  host: fc.constantFrom(...HOSTS),
})
const steps = fc.array(step, { minLength: 10, maxLength: 60, size: 'max' })

/** What could not be rebuilt is in ERROR, with its claim, whatever its guest is like. */
async function expectOnePlace(cloud: EvacuatingCloud, uuid: string): Promise<void> {
  const { vm_state, task_state, host, running, claims } = await cloud.places(uuid)
  const isBroken = vm_state === 'error'
  const guests = isBroken ? running.filter((name) => !host.includes(name)) : running
  expect({ task_state, guests, claims }).toEqual({ task_state: null, guests: isBroken ? [] : host, claims: host })
  expect(host).toHaveLength(vm_state === 'deleted' || vm_state === 'shelved_offloaded' ? 0 : 1)
}

describe.each(databaseEngines)('moves on $name', (engine) => {
  it('keep the slot of every guest that may run, and end with one guest, one claim and one place, whatever happens', async () => {
    let evacuated = 0
    let moved = 0
    let reverted = 0
    let rebuilt = 0
    let shelved = 0
    let live = 0
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        await using cloud = await EvacuatingCloud.open(engine)
        await cloud.boot()
        await cloud.boot(plainFlavor)
        for (const one of history) {
          await cloud.run(one)
          expect(await cloud.unclaimed()).toEqual([])
          expect(await cloud.doubled()).toEqual([])
        }
        await cloud.settle()
        // Whatever happened before, all that lives can be moved, rebuilt, and put away once more.
        for (const what of ['migrate', 'live-migrate', 'rebuild', 'shelve', 'unshelve'] as const) {
          for (const [which] of cloud.uuids.entries()) await cloud.run({ do: what, which, host: 'h1' })
          await cloud.settle()
        }
        for (const uuid of cloud.uuids) await expectOnePlace(cloud, uuid)
        expect([cloud.setAside, cloud.open]).toEqual([[], []])
        evacuated += await cloud.ended('completed', 'evacuation')
        moved += await cloud.ended('completed', 'migration', 'resize')
        shelved += cloud.imagesRemoved
        rebuilt += await cloud.ended('completed', 'rebuild')
        live += await cloud.ended('completed', 'live-migration')
        reverted += await cloud.ended('reverted', 'migration', 'resize')
      }),
      // A history this long takes minutes to be shortened, and is replayed by its seed.
      { numRuns: runs(engine.concurrent ? 20 : 12), endOnFailure: true },
    )
    // Else it would have shown little.
    const isMuch = { evacuated: evacuated > 3, moved: moved > 3, reverted: reverted > 1, live: live > 3 }
    expect(isMuch).toEqual({ evacuated: true, moved: true, reverted: true, live: true })
    expect([rebuilt > 0, shelved > 0]).toEqual([true, true])
  }, 240_000)
})
