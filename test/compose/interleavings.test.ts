import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { correctionOf } from '../../src/objects/guest-deviation.ts'
import { databaseEngines } from '../support/databases.ts'
import { ActingCloud, INCIDENTS, REQUESTS, type Step } from './acting-cloud.ts'

/** `INTERLEAVINGS=2000 npx vitest run test/compose/interleavings.test.ts` is the long form. */
const RUNS = Number(process.env.INTERLEAVINGS ?? 15)

/** Guests that change by themselves hide what was done to them by mistake: half of all histories have none. */
function stepsWith(incidents: readonly (typeof INCIDENTS)[number][]): fc.Arbitrary<Step[]> {
  const what = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...(Object.keys(REQUESTS) as (keyof typeof REQUESTS)[])) },
    { weight: 8, arbitrary: fc.constantFrom('deliver' as const, 'deliver twice' as const, 'let it work' as const) },
    { weight: 5, arbitrary: fc.constantFrom(...incidents) },
  )
  return fc.array(fc.record({ do: what, which: fc.nat(1000) }), { minLength: 15, maxLength: 60, size: 'max' })
}
const ofGuests = (what: string) => what.startsWith('guest ')
const steps = fc.oneof(stepsWith(INCIDENTS), stepsWith(INCIDENTS.filter((what) => !ofGuests(what))))

const PHASES = /^(instance\.\w+)\.(start|end|error) (\S+)$/

/** By instance and event how many have begun, and how many have ended. */
function phasesOf(events: readonly string[]) {
  const counts = new Map<string, { started: number; ended: number }>()
  for (const each of events) {
    const [, event, phase, uuid] = PHASES.exec(each) ?? []
    const key = `${event} ${uuid}`
    const { started, ended } = counts.get(key) ?? { started: 0, ended: 0 }
    counts.set(key, phase === 'start' ? { started: started + 1, ended } : { started, ended: ended + 1 })
  }
  return counts
}

async function expectAgreement(cloud: ActingCloud): Promise<void> {
  const told = phasesOf(cloud.events)
  for (const uuid of cloud.uuids) {
    const { vm_state, task_state, host, attempt, mem_encryption } = await cloud.instance(uuid)
    const { state, inClear } = await cloud.guest(uuid)
    const actions = await cloud.actions(uuid)
    const isDeleted = vm_state === 'deleted'
    const isGone = isDeleted || vm_state === 'shelved_offloaded'
    // It rests, and its guest does what it should, or what it may.
    expect(task_state).toBeNull()
    expect([undefined, 'told']).toContain(correctionOf(vm_state, state))
    expect(actions.filter(({ status }) => status === 'accepted')).toEqual([])
    // Nothing of a deleted or shelved one is left, and its claim was given back; of others it was not.
    const isReleased = (cloud.released.get(uuid) ?? 0) >= attempt
    expect([host, isReleased]).toEqual(isGone ? [null, true] : ['node1', false])
    if (isGone) expect([state, (await cloud.leftovers()).includes(uuid)]).toEqual(['missing', false])
    expect([uuid, mem_encryption !== null && inClear]).toEqual([uuid, false])
    // What has begun has ended, once, whatever took the place of it.
    const sums = [...told].filter(([key]) => key.endsWith(uuid))
    expect(sums.filter(([, { started, ended }]) => started !== ended)).toEqual([])
    expect(told.get(`instance.delete ${uuid}`)).toEqual(isDeleted ? { started: 1, ended: 1 } : undefined)
  }
}

/** Where no guest has changed by itself, none was found doing something else than it should. */
async function expectNoCorrections(cloud: ActingCloud): Promise<void> {
  for (const uuid of cloud.uuids) {
    const unasked = (await cloud.actions(uuid)).filter(({ action }) => action.name === 'stop' && action.observed)
    expect(unasked).toEqual([])
  }
}

describe('whatever is asked of instances, and whatever happens meanwhile', () => {
  it('a guest that somebody starts in clear, after its own start has failed the proof, is taken down', async () => {
    const [engine] = databaseEngines
    if (engine === undefined) throw new Error('there is no database to test with')
    await using cloud = await ActingCloud.open(engine)
    const encrypted = 0
    for (const what of ['reboot', 'guest vanishes', 'hypervisor drops encryption', 'deliver'] as const) {
      await cloud.run({ do: what, which: encrypted })
    }
    await cloud.idle()
    await cloud.run({ do: 'guest is started', which: encrypted })
    const [uuid = ''] = cloud.uuids
    const meanwhile = await cloud.guest(uuid)

    await cloud.settle()

    expect(meanwhile).toEqual({ state: 'running', inClear: true })
    expect([(await cloud.instance(uuid)).vm_state, await cloud.guest(uuid)]).toEqual([
      'error',
      { state: 'shutoff', inClear: false },
    ])
  })

  it('the removal of an image waits for who makes it, however long the hypervisor is silent, and nothing else does', async () => {
    const [engine] = databaseEngines
    if (engine === undefined) throw new Error('there is no database to test with')
    await using cloud = await ActingCloud.open(engine)
    const inClear = 1
    await cloud.run({ do: 'shelve', which: inClear })
    await cloud.run({ do: 'hypervisor is silent', which: 0 })
    await cloud.run({ do: 'deliver', which: 0 })
    await cloud.run({ do: 'delete', which: inClear })
    const removal = cloud.letters.indexOf('remove_shelved_image')
    await cloud.run({ do: 'deliver', which: removal })

    await cloud.settle()

    expect(removal).toBeGreaterThanOrEqual(0)
    await expectAgreement(cloud)
  })

  it('they come to rest, with guests that do what they should, encrypted as asked, and every end told', async () => {
    const [engine] = databaseEngines
    if (engine === undefined) throw new Error('there is no database to test with')
    let acted = 0
    await fc.assert(
      fc.asyncProperty(steps, async (history) => {
        await using cloud = await ActingCloud.open(engine)
        for (const step of history) await cloud.run(step)
        await cloud.settle()
        await expectAgreement(cloud)
        if (!history.some(({ do: what }) => ofGuests(what))) await expectNoCorrections(cloud)
        for (const uuid of cloud.uuids) acted += (await cloud.actions(uuid)).length
      }),
      // A history this long takes minutes to be shortened, and is replayed by its seed.
      { numRuns: RUNS, endOnFailure: true },
    )
    // Else it would have shown little.
    expect(acted).toBeGreaterThan(RUNS)
  }, 3_600_000)
})
