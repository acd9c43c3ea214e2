import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../../src/database/database.ts'
import type { Selection } from '../../../src/objects/request-spec.ts'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { endClaim } from '../../../src/scheduler/hosts/end-claim.ts'
import { type ClaimInFlight, HostTable } from '../../../src/scheduler/hosts/host-table.ts'
import { DOWN_AFTER_INTERVALS } from '../../../src/scheduler/liveness.ts'
import type { ClaimOutcome } from '../../../src/scheduler/placement/claim.ts'
import { claimGroup } from '../../../src/scheduler/placement/claim-group.ts'
import { changesSince, type HostChanges } from '../../../src/scheduler/placement/feed.ts'
import { recordHost } from '../../../src/scheduler/placement/host-records.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { releaseGroup } from '../../../src/scheduler/placement/release-group.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { type DatabaseEngine, databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

const [embedded] = databaseEngines as readonly [DatabaseEngine]

const HOSTS = ['cn-1', 'cn-2'] as const
const INSTANCES = 5
const SCHEDULERS = 2
const EMPTY = `delete from allocations; delete from consumers; delete from inventories; delete from resource_providers;
  delete from compute_hosts`

const host = fc.constantFrom(...HOSTS)
const instance = fc.nat(INSTANCES - 1)
const attempt = fc.integer({ min: 1, max: 6 })
const aClaim = fc.record({ host, instance, attempt, slot: fc.boolean() })

/** What a step of its kind does not need, it has all the same. */
const aStep = fc.record({
  do: fc.constantFrom(
    ...(['ask', 'claim', 'hear', 'read', 'take over'] as const).flatMap((often) => [often, often, often]),
    ...(['release', 'report', 'offer anew', 'force down', 'remove', 'forget', 'rest'] as const),
  ),
  scheduler: fc.nat(SCHEDULERS - 1),
  claims: fc.array(aClaim, { minLength: 1, maxLength: 3 }),
  host,
  vcpus: fc.integer({ min: 1, max: 4 }),
  slots: fc.constantFrom<Record<string, number>>({}, { 'amd-sev': 1 }, { 'amd-sev': 3 }, { 'amd-sev-es': 2 }),
  isSo: fc.boolean(),
})
type Step = typeof aStep extends fc.Arbitrary<infer T> ? T : never

function selectionOf({ host, attempt, slot }: { host: string; attempt: number; slot: boolean }): Selection {
  const allocations = [
    { provider: host, resource_class: 'MEMORY_MB', amount: 1, ...(slot && { pinned: true }) },
    { provider: host, resource_class: 'VCPU', amount: 1 },
    ...(slot ? [{ provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }] : []),
  ]
  return { host, attempt, allocations, report: { hosts_considered: 1, rejected: [], rejections: [], ranking: [] } }
}

/** Claims that go in one statement; outcomes: it is done, and nobody has heard of it yet. */
interface InFlight {
  readonly claims: readonly {
    readonly instance_uuid: string
    readonly selection: Selection
    readonly onItsWay: ClaimInFlight
  }[]
  outcomes: readonly (ClaimOutcome | undefined)[] | undefined
}

/** A scheduler's part: each statement is done at one moment, and its answer heard of at a later one. */
class Memory {
  readonly table = new HostTable({ isUp: () => true, lastSeenUp: () => undefined, secondsSilent: () => undefined })
  readonly #database: Database
  #cursor: string | undefined
  #reading: { readonly changes: HostChanges; readonly told: number } | undefined
  readonly #flights: InFlight[] = []

  constructor(database: Database) {
    this.#database = database
  }

  async read() {
    if (this.#reading !== undefined) return
    const { told } = this.table
    this.#reading = { told, changes: await changesSince(this.#database, DOWN_AFTER_INTERVALS, this.#cursor) }
  }

  takeOver() {
    if (this.#reading === undefined) return
    this.table.apply(this.#reading.changes, this.#reading.told)
    this.#cursor = this.#reading.changes.cursor
    this.#reading = undefined
  }

  ask(claims: readonly { readonly instance_uuid: string; readonly selection: Selection }[]) {
    const known = claims.flatMap((claim) => {
      const place = this.table.placeOf(claim.selection.host)
      if (place === undefined) return []
      return { ...claim, onItsWay: this.table.begin(place, claim.selection.allocations) }
    })
    const byUuid = new Map(known.map((one) => [one.instance_uuid, one]))
    for (const one of known) if (byUuid.get(one.instance_uuid) !== one) one.onItsWay.failed()
    if (byUuid.size > 0) this.#flights.push({ claims: [...byUuid.values()], outcomes: undefined })
  }

  async claim(isLost: boolean) {
    const flight = this.#flights.find(({ outcomes }) => outcomes === undefined)
    if (flight === undefined) return
    const outcomes = await claimGroup(this.#database, flight.claims)
    flight.outcomes = isLost ? outcomes.map(() => undefined) : outcomes
  }

  hear() {
    const flight = this.#flights.find(({ outcomes }) => outcomes !== undefined)
    if (flight === undefined) return
    this.#flights.splice(this.#flights.indexOf(flight), 1)
    for (const [n, { onItsWay }] of flight.claims.entries()) endClaim(onItsWay, flight.outcomes?.[n])
  }

  async rest() {
    while (this.#flights.length > 0) {
      await this.claim(false)
      this.hear()
    }
    this.takeOver()
    await this.read()
    this.takeOver()
  }
}

/** Of a host that has nothing in use. */
const REMOVE = [
  'delete from inventories where provider in (select name from resource_providers where host = $1)',
  'delete from resource_providers where host = $1 and parent_name is not null',
  'delete from resource_providers where host = $1',
  'delete from compute_hosts where host = $1',
]
const FORGET = `update host_changes_kept set rotated_at = now() - interval '61 seconds'; select rotate_host_changes()`

interface Given {
  readonly database: Database
  readonly memories: readonly Memory[]
  readonly uuids: readonly string[]
}

const ACTS: Readonly<Record<Step['do'], (given: Given, step: Step, memory: Memory) => unknown>> = {
  ask: ({ uuids }, { claims }, memory) =>
    memory.ask(claims.map((one) => ({ instance_uuid: uuids[one.instance] as string, selection: selectionOf(one) }))),
  claim: (_, { isSo: isLost }, memory) => memory.claim(isLost),
  hear: (_, __, memory) => memory.hear(),
  read: (_, __, memory) => memory.read(),
  'take over': (_, __, memory) => memory.takeOver(),
  release: ({ database, uuids }, { claims }) =>
    releaseGroup(
      database,
      claims.map((one) => ({ instance_uuid: uuids[one.instance] as string, attempt: one.attempt })),
    ),
  report: ({ database }, { host: name, vcpus, slots }) => recordHost(database, aHostReport(name, { vcpus, slots })),
  // Inventories that go and come begin to count anew.
  'offer anew': async ({ database }, { host: name, vcpus, slots }) => {
    await recordHost(database, aHostReport(name, { vcpus }))
    await recordHost(database, aHostReport(name, { vcpus, slots }))
  },
  'force down': ({ database }, { host: name, isSo }) =>
    database.query('update compute_hosts set forced_down = $2 where host = $1', [name, isSo]),
  remove: async ({ database }, { host: name }) => {
    await database
      .transaction(async (tx) => {
        for (const sql of REMOVE) await tx.query(sql, [name])
      })
      .catch((error: unknown) => expect(error).toMatchObject({ code: '23503' }))
  },
  forget: async ({ database }) => {
    for (let turns = 0; turns < 2; turns++) await database.query(FORGET)
  },
  rest: (given) => compareAtRest(given),
}

/** The claims of who comes to rest last, the others do not know yet. */
async function compareAtRest({ database, memories }: Given): Promise<void> {
  for (const memory of [...memories, ...memories]) await memory.rest()
  const there = (await new DatabasePlacement(database).hostStates()).map(timeless)
  for (const { table } of memories) expect(table.list().map(timeless)).toEqual(there)
}

/** Without what its clock says. */
function timeless({ secondsSinceSeen: _, lastSeenUp: __, ...known }: HostState) {
  return known
}

describe('what schedulers remember of hosts', () => {
  it('is what the database has, when what is on its way has ended and they have looked, whatever happened', async () => {
    await using test = await embedded.open(placementMigrations)
    const { database } = test

    await fc.assert(
      fc.asyncProperty(fc.array(aStep, { maxLength: 60 }), async (steps) => {
        await database.query(EMPTY)
        for (const name of HOSTS) await recordHost(database, aHostReport(name, { vcpus: 3, slots: { 'amd-sev': 2 } }))
        const memories = Array.from({ length: SCHEDULERS }, () => new Memory(database))
        const given = { database, memories, uuids: Array.from({ length: INSTANCES }, () => randomUUID()) }
        await compareAtRest(given)

        for (const step of steps) await ACTS[step.do](given, step, memories[step.scheduler] as Memory)

        await compareAtRest(given)
      }),
      { numRuns: runs(12) },
    )
  })
})
