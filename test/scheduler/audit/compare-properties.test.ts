import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GuestReport } from '../../../src/objects/guest-report.ts'
import type { InstanceState } from '../../../src/objects/instance.ts'
import type { HostLook } from '../../../src/scheduler/audit/observation.ts'
import { aClaim, aGuest, aLook, anInstanceState, anObservation, compare, keys, SILENT, uuidOf } from './observations.ts'

const HOSTS = ['h1', 'h2', 'h3'] as const
type Host = (typeof HOSTS)[number]

interface Scene {
  readonly instance?: Partial<InstanceState>
  readonly claims?: readonly Host[]
  readonly guests?: Readonly<Partial<Record<Host, Partial<GuestReport>>>>
  /** Kind, host, and whether a repair is safe. Not of hosts that are silent. */
  readonly findings?: readonly (readonly [kind: string, host: Host, isRepairable: boolean | 'if all have claims'])[]
}

const DELETED = { vm_state: 'deleted', host: null } as const
const FAILED = { vm_state: 'error', host: null } as const

/** What can be the matter with one instance that is, or was, on `here`. */
const SCENES: Readonly<Record<string, (here: Host, there: Host, isSilent: (host: Host) => boolean) => Scene>> = {
  'runs as it should': (here) => ({ instance: { host: here }, claims: [here], guests: { [here]: {} } }),
  'is being built': (here) => ({ instance: { vm_state: 'building', host: here }, claims: [here] }),
  'is being built elsewhere': (here, there) => ({
    instance: { vm_state: 'building', task_state: 'spawning', host: there, attempt: 2 },
    claims: [there],
    guests: { [here]: {} },
  }),
  'is being deleted': (here) => ({ instance: { task_state: 'deleting', host: here }, claims: [here] }),
  'is deleted': () => ({ instance: DELETED }),
  failed: () => ({ instance: FAILED }),
  'is deleted and leaks': (here) => ({ instance: DELETED, claims: [here], findings: [['leak', here, true]] }),
  'is unknown and leaks': (here) => ({ claims: [here], findings: [['leak', here, 'if all have claims']] }),
  'is deleted and runs': (here) => ({
    instance: DELETED,
    claims: [here],
    guests: { [here]: {} },
    findings: [['ghost', here, true]],
  }),
  'failed and is left shut off': (here) => ({
    instance: FAILED,
    guests: { [here]: { state: 'shutoff' } },
    findings: [['ghost', here, true]],
  }),
  'is unknown and runs': (here) => ({ guests: { [here]: {} }, findings: [['ghost', here, false]] }),
  'is foreign': (here) => ({ guests: { [here]: { attempt: null } }, findings: [['foreign_guest', here, false]] }),
  'runs twice': (here, there, isSilent) => ({
    instance: { host: there, attempt: 2 },
    claims: [there],
    guests: { [here]: {}, [there]: { attempt: 2 } },
    findings: [isSilent(there) ? ['ghost', here, false] : ['double', here, true]],
  }),
  'runs only where it should not': (here, there) => ({
    instance: { host: there, attempt: 2 },
    claims: [there],
    guests: { [here]: {} },
    findings: [
      ['ghost', here, false],
      ['missing_guest', there, false],
    ],
  }),
  'is missing': (here) => ({ instance: { host: here }, claims: [here], findings: [['missing_guest', here, false]] }),
  'has claimed nothing': (here) => ({
    instance: { host: here },
    guests: { [here]: {} },
    findings: [['missing_claim', here, false]],
  }),
  'runs in clear': (here) => ({
    instance: { host: here },
    claims: [here],
    guests: { [here]: { model: null } },
    findings: [['wrong_encryption', here, false]],
  }),
}

interface Staged {
  readonly name: string
  readonly here: Host
  /** How far on the other host is. */
  readonly step: number
}

const aScene: fc.Arbitrary<Staged> = fc.record({
  name: fc.constantFrom(...Object.keys(SCENES)),
  here: fc.constantFrom(...HOSTS),
  step: fc.constantFrom(1, 2),
})

/** One scene as it is seen: the number of its instance makes its uuid. */
function staged({ name, here, step }: Staged, n: number, isSilent: (host: Host) => boolean) {
  const there = HOSTS[(HOSTS.indexOf(here) + step) % HOSTS.length] as Host
  const { instance, claims = [], guests = {}, findings = [] } = SCENES[name]?.(here, there, isSilent) ?? {}
  const attempt = instance?.attempt ?? 1
  return {
    instances: instance === undefined ? [] : [anInstanceState(n, instance)],
    claims: claims.map((host) => aClaim(n, { host, attempt })),
    guestsOn: (host: Host) => (guests[host] === undefined ? [] : [aGuest(n, guests[host])]),
    isUnclaimedOn: (host: Host) => host in guests && name !== 'is foreign' && !claims.includes(host),
    expected: (allHaveClaimsOn: (host: Host) => boolean) =>
      findings
        .filter(([, host]) => !isSilent(host))
        .map(
          ([kind, host, when]) => `${kind} ${host} ${uuidOf(n)} ${when === true || (when && allHaveClaimsOn(host))}`,
        ),
  }
}

describe('a comparison', () => {
  it('finds what is the matter with each instance, whatever else is the matter around it, and nothing of silent hosts', () => {
    const aCloud = fc.record({ scenes: fc.array(aScene, { maxLength: 30 }), silent: fc.subarray([...HOSTS]) })
    fc.assert(
      fc.property(aCloud, ({ scenes, silent }) => {
        const isSilent = (host: Host) => silent.includes(host)
        const all = scenes.map((scene, n) => staged(scene, n, isSilent))
        const lookAt = (host: Host) => (isSilent(host) ? SILENT : lookOf(all.flatMap(({ guestsOn }) => guestsOn(host))))
        const hosts = Object.fromEntries(HOSTS.map((host) => [host, lookAt(host)]))
        const claims = all.flatMap((each) => each.claims)
        const instances = all.flatMap((each) => each.instances)

        const { findings } = compare(anObservation({ hosts, claims, instances }))

        const found = findings.map(({ kind, host, uuid, repair }) => `${kind} ${host} ${uuid} ${repair !== undefined}`)
        const allHaveClaimsOn = (host: Host) => !all.some(({ isUnclaimedOn }) => isUnclaimedOn(host))
        expect(found.toSorted()).toEqual(all.flatMap(({ expected }) => expected(allHaveClaimsOn)).toSorted())
      }),
      { numRuns: 300 },
    )
  })
})

/** A host whose kernel counts what its guests hold. */
function lookOf(guests: readonly GuestReport[]): HostLook {
  const holders = guests.filter(({ state, model }) => state === 'running' && model === 'amd-sev').length
  return aLook(guests, { keys: keys([holders, 100]) })
}
