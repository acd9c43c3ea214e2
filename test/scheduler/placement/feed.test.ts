import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Database, Queryable } from '../../../src/database/database.ts'
import { migrate } from '../../../src/database/migrate.ts'
import type { Selection } from '../../../src/objects/request-spec.ts'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { endClaim } from '../../../src/scheduler/hosts/end-claim.ts'
import { HostTable } from '../../../src/scheduler/hosts/host-table.ts'
import { changesSince, type HostChanges } from '../../../src/scheduler/placement/feed.ts'
import { reportDigest } from '../../../src/scheduler/placement/host-records.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { runs } from '../../support/runs.ts'

/** The server may have other writers, those of other tests: what they hold open is waited for. */
const FOR_OTHERS = { timeout: 20_000, interval: 20 }

const report = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

function oneVcpu(host: string, attempt = 1): Selection {
  return { host, attempt, allocations: [{ provider: host, resource_class: 'VCPU', amount: 1 }], report }
}

function oneSlot(host: string): Selection {
  const slot = { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }
  return { host, attempt: 1, allocations: [...oneVcpu(host).allocations, slot], report }
}

/** What a scheduler that follows the feed knows. */
class Follower {
  readonly #placement: DatabasePlacement
  #cursor: string | undefined
  readonly #table = new HostTable({ isUp: () => true, lastSeenUp: () => undefined, secondsSilent: () => undefined })

  constructor(placement: DatabasePlacement) {
    this.#placement = placement
  }

  async look(): Promise<HostChanges> {
    const changes = await this.#placement.changesSince(this.#cursor)
    this.#cursor = changes.cursor
    this.#table.apply(changes, this.#table.told)
    return changes
  }

  /** @returns what lets it hear of the claim, which is made */
  async claim(instance_uuid: string, selection: Selection): Promise<() => void> {
    const onItsWay = this.#table.begin(this.#table.placeOf(selection.host) as number, selection.allocations)
    const outcome = await this.#placement.grant({ instance_uuid, selection })
    return () => endClaim(onItsWay, outcome)
  }

  /** As it knows them, by name; all of them when none is named. */
  known(...names: readonly string[]): readonly HostState[] {
    return this.#table.list(names.length > 0 ? names : undefined)
  }

  /** What was told: the name of a host alone, with a `+` where only its use has changed, with a `-` where it is no more. */
  async names() {
    const { hosts, uses, removed } = await this.look()
    const used = uses.map(({ host }) => `+${host}`).sort()
    return [...hosts.map(({ host }) => host), ...used, ...removed.map((host) => `-${host}`)]
  }

  /** Looks until nothing is told a second time. */
  async catchUp(): Promise<void> {
    await vi.waitFor(async () => expect(await this.names()).toEqual([]), FOR_OTHERS)
  }
}

/** The same database; what it answers is put into `rows`. */
function noting(database: Database, rows: unknown[]): Database {
  const noted = (on: Queryable): Queryable => ({
    async query<Row extends object>(sql: string, params?: readonly unknown[]) {
      const answer = await on.query<Row>(sql, params)
      rows.push(...answer)
      return answer
    },
  })
  return {
    ...noted(database),
    description: database.description,
    transaction: (work) => database.transaction((tx) => work(noted(tx))),
    close: () => database.close(),
  }
}

const host = fc.constantFrom('cn-1', 'cn-2', 'cn-3')
const instance = fc.nat(4)
const attempt = fc.integer({ min: 1, max: 9 })
const vcpus = fc.integer({ min: 1, max: 3 })
const anAction = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('claim' as const), host, instance, attempt }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), instance, attempt }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('report' as const), host, vcpus }) },
  { weight: 3, arbitrary: fc.constant({ do: 'look' as const }) },
)
type Action = typeof anAction extends fc.Arbitrary<infer T> ? T : never

async function act(placement: DatabasePlacement, uuids: readonly string[], action: Action): Promise<void> {
  if (action.do === 'look') return
  if (action.do === 'report') {
    await placement.recordHost(aHostReport(action.host, { vcpus: action.vcpus }))
    return
  }
  const { attempt } = action
  const instance_uuid = uuids[action.instance] as string
  if (action.do === 'claim') await placement.claim(instance_uuid, oneVcpu(action.host, attempt))
  else await placement.release({ instance_uuid, attempt })
}

describe.each(databaseEngines)('the feed of changed hosts, on $name', ({ open, concurrent }) => {
  async function openWith(...hosts: readonly string[]) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    for (const host of hosts) await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': 2 } }))
    const follower = new Follower(placement)
    return { test, placement, follower, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  it('begins with all hosts, as they are, and then tells nothing until something changes', async () => {
    await using given = await openWith('cn-1', 'cn-2')

    const first = await given.follower.look()

    expect(first).toMatchObject({ complete: true, removed: [] })
    expect(first.hosts.map(timeless)).toEqual((await given.placement.hostStates()).map(timeless))
    await given.follower.catchUp()
    expect(await given.follower.look()).toMatchObject({ complete: false, hosts: [], removed: [] })
  })

  it('tells the host of each claim, move and release, with a higher version of what they changed', async () => {
    await using given = await openWith('cn-1', 'cn-2', 'cn-3')
    const uuid = randomUUID()
    await given.follower.catchUp()
    const version = (host: string) => given.follower.known(host)[0]?.root.inventories.VCPU?.version ?? 0
    const before = version('cn-1')

    await given.placement.claim(uuid, oneVcpu('cn-1'))
    expect(await given.follower.names()).toEqual(['+cn-1'])
    await given.follower.catchUp()
    const claimed = version('cn-1')
    await given.placement.claim(uuid, oneVcpu('cn-2', 2))
    expect(await given.follower.names()).toEqual(['+cn-1', '+cn-2'])
    await given.follower.catchUp()
    await given.placement.release({ instance_uuid: uuid, attempt: 2 })
    expect(await given.follower.names()).toEqual(['+cn-2'])

    expect([claimed > before, version('cn-1') > claimed]).toEqual([true, true])
  })

  it.each([
    ['facts', `update compute_hosts set facts = facts || '{"default_machine_type": "pc"}' where host = 'cn-1'`],
    ['being disabled', `update compute_hosts set disabled = true, disabled_reason = 'r' where host = 'cn-1'`],
    ['being forced down', `update compute_hosts set forced_down = true where host = 'cn-1'`],
    ['failed builds', `update compute_hosts set failed_builds = 1 where host = 'cn-1'`],
    ['traits', `insert into provider_traits values ('cn-1', 'CUSTOM_FAST')`],
    ['lost traits', `delete from provider_traits where provider = 'cn-1'`],
    ['an inventory', `update inventories set reserved = 1 where provider = 'cn-1' and resource_class = 'VCPU'`],
    ['a lost inventory', `delete from inventories where provider = 'cn-1' and resource_class = 'VCPU'`],
    ['a pool', `update resource_providers set generation = 9 where name = 'cn-1_amd_sev'`],
  ])('tells a host whose %s changed, whoever wrote it', async (_, sql) => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.follower.catchUp()

    await given.test.database.query(sql)

    expect(await given.follower.names()).toEqual(['cn-1'])
  })

  it('tells a host whole whose use is not all that has changed', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.follower.catchUp()

    for (const host of ['cn-1', 'cn-2']) await given.placement.claim(randomUUID(), oneVcpu(host))
    await given.test.database.query(`insert into provider_traits values ('cn-1', 'CUSTOM_FAST')`)

    expect(await given.follower.names()).toEqual(['cn-1', '+cn-2'])
    expect(given.follower.known().map(timeless)).toEqual((await given.placement.hostStates()).map(timeless))
  })

  it('reads what is used once, in the moment in which it reads what else has changed', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.follower.catchUp()
    const { cursor } = await given.placement.changesSince()
    await given.placement.claim(randomUUID(), oneVcpu('cn-2'))
    await given.test.database.query(`insert into provider_traits values ('cn-1', 'CUSTOM_FAST')`)
    const read: unknown[] = []

    const { hosts, uses } = await changesSince(noting(given.test.database, read), 6, cursor)

    expect([hosts.map(({ host }) => host), uses.map(({ host }) => host)]).toEqual([['cn-1'], ['cn-2']])
    expect(read.flatMap((row) => (row as Partial<HostChanges>).uses ?? [])).toEqual(uses)
  })

  it('tells the use of a host that has nothing to use', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.test.database.query(`delete from inventories where provider like 'cn-1%'`)
    await given.follower.catchUp()

    await given.test.database.query(`insert into host_changes (host, use_only) values ('cn-1', true)`)

    expect((await given.follower.look()).uses).toEqual([{ host: 'cn-1', instances: 0, inventories: [] }])
  })

  it('tells hosts that are no more', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.follower.catchUp()

    await given.test.database.query(`delete from inventories where provider like 'cn-1%';
      delete from resource_providers where host = 'cn-1'; delete from compute_hosts where host = 'cn-1'`)

    expect(await given.follower.names()).toEqual(['-cn-1'])
  })

  it('is not moved by signs of life, which are read apart', async () => {
    await using given = await openWith('cn-1', 'cn-2', 'cn-3')
    const { placement } = given
    await given.follower.catchUp()
    await given.test.database.query(`update compute_hosts set last_seen_up = '2026-01-01T00:00:00Z'`)
    await placement.noteDown(['cn-1', 'cn-3'])
    const told = aHostReport('cn-1', { slots: { 'amd-sev': 2 } })
    const news = aHostReport('cn-2', { slots: { 'amd-sev': 1 } })

    expect(await placement.noteSeen([told, news, aHostReport('cn-9')])).toEqual([
      { told, follows: null, digest: reportDigest(told) },
    ])

    expect(await given.follower.names()).toEqual([])
    const long = new Date('2026-01-01T12:00:00Z')
    const seen = (await placement.hostsSeen()).toSorted((a, b) => (a.host < b.host ? -1 : 1))
    expect(seen.map(({ host, lastSeenUp, downSince }) => [host, lastSeenUp > long, downSince])).toEqual([
      ['cn-1', true, undefined],
      ['cn-2', false, undefined],
      ['cn-3', false, expect.any(Date)],
    ])
    expect((await placement.hostsSeen(long)).map(({ host }) => host).sort()).toEqual(['cn-1', 'cn-3'])
  })

  it('begins anew for a cursor of long ago, and for one of another cluster', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    const { placement, test } = given
    const { cursor } = await placement.changesSince()
    const later = () => test.database.query(`update host_changes_kept set rotated_at = now() - interval '61 seconds'`)

    await later()
    expect(await placement.changesSince(cursor)).toMatchObject({ complete: false })
    await test.database.query('update inventories set reserved = 1')

    await vi.waitFor(async () => {
      await later()
      expect(await placement.changesSince(cursor)).toMatchObject({ complete: true })
    }, FOR_OTHERS)
    const [counter] = cursor.split('/')
    expect(await placement.changesSince(`${counter}/9000000000000000`)).toMatchObject({ complete: true })
  })

  it('begins anew where the database was made anew, however far its server has counted', async () => {
    await using given = await openWith('cn-1', 'cn-2')
    await given.follower.catchUp()

    await given.test.database.query('drop schema public cascade; create schema public')
    await migrate(given.test.database, placementMigrations)
    await given.placement.recordHost(aHostReport('cn-2', { vcpus: 3 }))
    await given.follower.look()

    expect(given.follower.known().map(timeless)).toEqual((await given.placement.hostStates()).map(timeless))
  })

  it('begins anew for a cursor of the same tables on a server that was started at another time, as after a restoration', async () => {
    await using given = await openWith('cn-1')
    const { cursor } = await given.placement.changesSince()

    expect(await given.placement.changesSince(cursor.replace('/', '1/'))).toMatchObject({ complete: true })
    expect(await given.placement.changesSince(cursor)).toMatchObject({ complete: false })
  })

  it('has a use that is heard of late behind an inventory that was removed and offered anew since', async () => {
    await using given = await openWith('cn-1')
    const { placement, follower } = given
    await follower.look()
    const uuid = randomUUID()
    const hear = await follower.claim(uuid, oneSlot('cn-1'))

    await placement.release({ instance_uuid: uuid, attempt: 1 })
    await placement.recordHost(aHostReport('cn-1'))
    await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 2 } }))
    await follower.look()
    hear()

    expect(follower.known().map(timeless)).toEqual((await placement.hostStates()).map(timeless))
  })

  it('forgets what nobody needs any more, and what a dump of another cluster has left', async () => {
    await using given = await openWith('cn-1')
    const { placement, test } = given
    await test.database.query(`insert into host_changes values ('9000000000000000', 'cn-1')`)

    await vi.waitFor(async () => {
      await test.database.query(`update host_changes_kept set rotated_at = now() - interval '61 seconds'`)
      await placement.changesSince()
      expect(await test.database.query('select * from host_changes')).toEqual([])
    }, FOR_OTHERS)
  })

  // An engine with one session has no claim that commits late.
  if (concurrent) {
    it('misses no claim that commits after it was asked', async () => {
      await using given = await openWith('cn-1', 'cn-2')
      const [slow, other] = [await given.test.connect(), await given.test.connect()]
      let commit = () => {}
      const mayCommit = new Promise<void>((resolve) => {
        commit = resolve
      })
      await given.follower.catchUp()

      let begun = () => {}
      const hasBegun = new Promise<void>((resolve) => {
        begun = resolve
      })
      const late = slow.transaction(async (tx) => {
        await tx.query(`update inventories set reserved = 1 where provider = 'cn-1' and resource_class = 'VCPU'`)
        begun()
        await mayCommit
      })
      await hasBegun
      await new DatabasePlacement(other).claim(randomUUID(), oneVcpu('cn-2'))
      expect(await given.follower.names()).toContain('+cn-2')
      commit()
      await late

      expect(await given.follower.names()).toContain('cn-1')
      expect(given.follower.known('cn-1')[0]?.root.inventories.VCPU?.reserved).toBe(1)
    })
  }

  it('lets whoever follows it know what the database has, whatever happens at once', async () => {
    await using given = await openWith()
    const { placement } = given
    const other = new DatabasePlacement(await given.test.connect())
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(anAction, { maxLength: 6 }), { maxLength: 6 }), async (rounds) => {
        const uuids = Array.from({ length: 5 }, () => randomUUID())
        const follower = new Follower(placement)
        await follower.look()
        for (const round of rounds) {
          const looks = round.filter((one) => one.do === 'look')
          await Promise.allSettled([
            ...round.map((one) => act(other, uuids, one)),
            // One after the other, as a scheduler looks.
            looks.reduce((before) => before.then(async () => void (await follower.look())), Promise.resolve()),
          ])
        }
        await follower.look()
        expect(follower.known().map(timeless)).toEqual((await placement.hostStates()).map(timeless))
      }),
      { numRuns: runs(10) },
    )
  })

  it('tells claims from other changes also where they were made before it could', async () => {
    const before = placementMigrations.findIndex(({ id }) => id === 'placement-0016-use-log')
    await using test = await open(placementMigrations.slice(0, before))
    // A connection of before, whose functions have their plans.
    const worker = new DatabasePlacement(await test.connect())
    for (const name of ['cn-1', 'cn-2']) await worker.recordHost(aHostReport(name))
    const uuid = randomUUID()
    await worker.claim(uuid, oneVcpu('cn-1'))

    await migrate(await test.connect(), placementMigrations)

    const follower = new Follower(new DatabasePlacement(test.database))
    await follower.catchUp()
    await worker.claim(randomUUID(), oneVcpu('cn-2'))
    await worker.release({ instance_uuid: uuid, attempt: 1 })
    expect(await follower.names()).toEqual(['+cn-1', '+cn-2'])
    expect(follower.known().map(({ instances }) => instances)).toEqual([0, 1])
  })

  it('knows hosts that were disabled before it was there as disabled by an operator', async () => {
    await using test = await open(placementMigrations.slice(0, 2))
    await test.database.query(`
      insert into compute_hosts values ('cn-1', '{}', 'cn-1', 10, 'd', true, now(), true, 'broken fan');
      insert into compute_hosts values ('cn-2', '{}', 'cn-2', 10, 'd', true, now(), false, null)`)

    await migrate(test.database, placementMigrations)

    expect(
      await test.database.query('select host, disabled_by, failed_builds from compute_hosts order by host'),
    ).toEqual([
      { host: 'cn-1', disabled_by: 'operator', failed_builds: 0 },
      { host: 'cn-2', disabled_by: null, failed_builds: 0 },
    ])
  })
})

/** Without what its clock says. */
function timeless({ secondsSinceSeen: _, lastSeenUp: __, ...host }: HostState) {
  return host
}
