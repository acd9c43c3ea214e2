import { describe, expect, it, vi } from 'vitest'
import { type HostReport, type ReportingWorker, SEQUENCES_PER_START } from '../../../src/objects/host-report.ts'
import type { ToldOfHost } from '../../../src/scheduler/placement/feed.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'

const IDS = { a: '00000000-0000-4000-8000-00000000000a', b: '00000000-0000-4000-8000-00000000000b' }
type Who = keyof typeof IDS
const SETTLE = { timeout: 30_000, interval: 50 }

/** What worker `who` says of cn-1 in its report of this number. */
function told(who: Who, sequence: number, vcpus = 8, more: Partial<HostReport> = {}): HostReport {
  const worker = { worker_id: IDS[who], sequence, machine: `machine-${who}`, pid: 1, clock_ms: 0 }
  return { ...aHostReport('cn-1', { vcpus }), worker, ...more }
}

/** Of an earlier release. */
const nameless = (vcpus = 8) => aHostReport('cn-1', { vcpus })

const digest = expect.stringMatching(/^[0-9a-f]{64}$/)
const TAKEN = { changed: false, overcommitted: [], closed: [], digest }
const NEWS = { changed: true, overcommitted: [], closed: [], digest }

const seen = async (placement: DatabasePlacement, all: readonly ToldOfHost[]) =>
  (await placement.noteSeen(all)).map((noted) => noted.told)

describe.each(databaseEngines)('the worker whose reports of a host are taken, on $name', ({ open }) => {
  async function openPlacement() {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    const sql = test.database
    return {
      test,
      placement,
      /** What the database has of cn-1: processors, whose word it is and of which number, and whether it lives. */
      async known() {
        const [known] = await sql.query<Record<string, unknown>>(
          `select vcpu.total as vcpus, h.worker_id, h.report_sequence as sequence, h.worker_place as place, h.worker_left as left,
             h.down_since is not null as down, h.last_seen_up > '2026-06-01' as seen
             from compute_hosts h join inventories vcpu on vcpu.provider = h.host and vcpu.resource_class = 'VCPU'
            where h.host = 'cn-1'`,
        )
        return known
      },
      /** Its last sign of life is of long ago; so it is known whether another one was taken. */
      forgetLife: () => sql.query(`update compute_hosts set last_seen_up = '2026-01-01T00:00:00Z'`),
      [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
    }
  }

  it('is the first that reports, and a second one is refused by the names of both, whatever it says', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', 1))
    await given.forgetLife()

    for (const second of [told('b', 7), told('b', 8, 16), nameless(), nameless(16)]) {
      expect(await seen(placement, [second])).toEqual([])
      await expect(placement.recordHost(second)).rejects.toMatchObject({ code: 'DUPLICATE_HOST' })
    }

    const fix =
      'give each of them a host name of its own (compute.host), or stop one; when the first has left, or counts as down, the other is taken by itself'
    const refusal = await placement.recordHost(told('b', 9)).catch((error: unknown) => error)
    expect(refusal).toMatchObject({
      message: `two workers say that they are host cn-1: process 1 on machine machine-a, which is taken, and process 1 on machine machine-b, which is not; ${fix}`,
      details: {
        host: 'cn-1',
        worker: 'process 1 on machine machine-b',
        holder: 'process 1 on machine machine-a',
        worker_id: IDS.b,
        holder_id: IDS.a,
        fix,
      },
    })
    expect(await given.known()).toMatchObject({ vcpus: 8, worker_id: IDS.a, sequence: 1, seen: false })
    expect(await seen(placement, [told('a', 2)])).toEqual([told('a', 2)])
    expect(await given.known()).toEqual({
      vcpus: 8,
      worker_id: IDS.a,
      sequence: 2,
      place: 'process 1 on machine machine-a',
      left: false,
      down: false,
      seen: true,
    })
  })

  it('replaces nothing by what it told before: late reports are dropped', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', 5))
    await placement.recordHost(told('a', 7, 16))

    for (const late of [told('a', 6), told('a', 7, 4), told('a', 6, 16)]) {
      expect(await seen(placement, [late])).toEqual([])
      await expect(placement.recordHost(late)).rejects.toMatchObject({
        code: 'STALE_REPORT',
        details: { host: 'cn-1', sequence: late.worker?.sequence, known_sequence: 7 },
      })
    }
    expect(await given.known()).toMatchObject({ vcpus: 16, sequence: 7 })
  })

  it('lives by saying that nothing is new, whatever the database has; another one does not, and hears why', async () => {
    await using given = await openPlacement()
    const { placement } = given
    const { digest: report_digest = '' } = await placement.recordHost(told('a', 1))
    const unchanged = (who: Who, sequence: number, digest = report_digest) => ({
      host: 'cn-1',
      report_digest: digest,
      worker: told(who, sequence).worker as ReportingWorker,
    })
    await given.forgetLife()
    const [strange, late, other] = [unchanged('b', 2), unchanged('a', 1), unchanged('a', 3, 'f'.repeat(64))]

    expect(await seen(placement, [strange])).toEqual([])
    expect(await seen(placement, [late, { ...other, host: 'cn-9' }])).toEqual([])
    expect(await given.known()).toMatchObject({ sequence: 1, seen: false })
    await expect(placement.refuseUnchanged(strange)).rejects.toMatchObject({ code: 'DUPLICATE_HOST' })
    await expect(placement.refuseUnchanged(late)).rejects.toMatchObject({ code: 'STALE_REPORT' })
    await placement.refuseUnchanged({ ...other, host: 'cn-9' })
    for (const own of [unchanged('a', 2), other]) {
      expect(await seen(placement, [own])).toEqual([own])
      expect(await given.known()).toMatchObject({ worker_id: IDS.a, sequence: own.worker.sequence, seen: true })
      await given.forgetLife()
    }

    await placement.noteDown(['cn-1'])
    expect(await seen(placement, [unchanged('b', 1, 'f'.repeat(64))])).toEqual([])
    expect(await seen(placement, [unchanged('b', 1)])).toHaveLength(1)
    expect(await given.known()).toMatchObject({ worker_id: IDS.b, vcpus: 8, down: false })
  })

  it('goes on after a restart, but not from a number that it cannot have come to', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', SEQUENCES_PER_START + 5))

    expect(await placement.recordHost(told('a', 2 * SEQUENCES_PER_START + 1))).toEqual(TAKEN)
    expect(await placement.recordHost(told('a', 1002 * SEQUENCES_PER_START + 1))).toEqual(TAKEN)
    const ahead = told('a', 2002 * SEQUENCES_PER_START + 2, 16)
    expect(await seen(placement, [ahead])).toEqual([])
    await expect(placement.recordHost(ahead)).rejects.toMatchObject({
      code: 'INVALID_INVENTORY',
      message:
        'the report of cn-1 was not taken: worker.sequence is 2002000000002, far ahead of 1002000000001, which is known; restore worker.json in the state folder, or remove it and start the worker again',
      details: { field: 'worker.sequence' },
    })

    expect(await given.known()).toMatchObject({ vcpus: 8, sequence: 1002 * SEQUENCES_PER_START + 1 })
  })

  it('is followed by another one at once when it said goodbye, and what it told before does not bring it back', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', 1))

    expect(await placement.noteLeft({ host: 'cn-1', worker_id: IDS.b, sequence: 9 })).toBe(false)
    expect(await placement.noteLeft({ host: 'cn-1', worker_id: IDS.a, sequence: 1 })).toBe(false)
    expect(await placement.noteLeft({ host: 'cn-1', worker_id: IDS.a, sequence: 3 })).toBe(true)
    expect(await seen(placement, [told('a', 2)])).toEqual([])
    expect(await given.known()).toMatchObject({ worker_id: IDS.a, sequence: 3, left: true })

    expect(await placement.recordHost(told('b', 1))).toEqual({
      ...TAKEN,
      tookOverFrom: 'process 1 on machine machine-a',
    })
    expect(await given.known()).toMatchObject({ worker_id: IDS.b, sequence: 1, left: false })
    await expect(placement.recordHost(told('a', 4))).rejects.toMatchObject({ code: 'DUPLICATE_HOST' })
  })

  it('comes back itself after its goodbye', async () => {
    await using given = await openPlacement()
    await given.placement.recordHost(told('a', 1))
    await given.placement.noteLeft({ host: 'cn-1', worker_id: IDS.a, sequence: 2 })

    expect(await given.placement.noteSeen([told('a', SEQUENCES_PER_START)])).toHaveLength(1)
    expect(await given.known()).toMatchObject({ worker_id: IDS.a, left: false })
  })

  it.each(['noteSeen', 'recordHost'] as const)(
    'is followed by another one when the host counts as down: %s',
    async (how) => {
      await using given = await openPlacement()
      const { placement } = given
      await placement.recordHost(told('a', 100))
      await placement.noteDown(['cn-1'])

      if (how === 'noteSeen') expect(await placement.noteSeen([told('b', 1)])).toHaveLength(1)
      else
        expect(await placement.recordHost(told('b', 1, 16))).toMatchObject({
          ...NEWS,
          tookOverFrom: expect.any(String),
        })

      expect(await given.known()).toMatchObject({ worker_id: IDS.b, sequence: 1, down: false })
      await expect(placement.recordHost(told('a', 101))).rejects.toMatchObject({ code: 'DUPLICATE_HOST' })
    },
  )

  it('is not followed by another one however long ago the database says that it was seen: clocks jump', async () => {
    await using given = await openPlacement()
    await given.placement.recordHost(told('a', 1))
    await given.forgetLife()

    await expect(given.placement.recordHost(told('b', 1))).rejects.toMatchObject({ code: 'DUPLICATE_HOST' })
  })

  it('follows one of an earlier release, which has no name, and is followed by one after its goodbye', async () => {
    await using given = await openPlacement()
    const { placement } = given
    expect(await placement.recordHost(nameless())).toEqual(NEWS)
    expect(await placement.recordHost(nameless())).toEqual(TAKEN)

    expect(await placement.recordHost(told('a', 1))).toEqual(TAKEN)
    await expect(placement.recordHost(nameless())).rejects.toMatchObject({
      code: 'DUPLICATE_HOST',
      details: { worker: 'a worker of an earlier release' },
    })
    await placement.noteLeft({ host: 'cn-1', worker_id: IDS.a, sequence: 2 })

    expect(await placement.noteSeen([nameless()])).toHaveLength(1)
    expect(await given.known()).toMatchObject({ worker_id: null, sequence: null })
  })

  it('is one of two whose reports are noted in one statement, and hosts beside it are noted, too', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', 1))
    await placement.recordHost(aHostReport('cn-2'))
    const [own, strange, beside] = [told('a', 2), told('b', 3), aHostReport('cn-2')]

    expect(await seen(placement, [strange, beside, own])).toEqual(expect.arrayContaining([beside, own]))
    expect(await given.known()).toMatchObject({ worker_id: IDS.a, sequence: 2 })
    await placement.noteDown(['cn-1'])
    const [noted, ...more] = await seen(placement, [told('a', 3), told('b', 4)])

    expect(more).toEqual([])
    expect(await given.known()).toMatchObject({
      worker_id: noted?.worker?.worker_id,
      sequence: noted?.worker?.sequence,
    })
  })

  it('is one when two new ones report a new host at the same moment, through two schedulers', async () => {
    await using given = await openPlacement()
    const others = [await given.test.connect(), await given.test.connect()]
    const schedulers = others.map((database) => new DatabasePlacement(database))

    const ends = await Promise.allSettled(
      (['a', 'b'] as const).map((who, n) => schedulers[n]?.recordHost(told(who, 1, who === 'a' ? 8 : 16))),
    )

    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'DUPLICATE_HOST' } })
    const winner = ends[0]?.status === 'fulfilled' ? { worker_id: IDS.a, vcpus: 8 } : { worker_id: IDS.b, vcpus: 16 }
    expect(await given.known()).toMatchObject(winner)
  })

  it('tells its time for words only: hours off in either direction change nothing', async () => {
    await using given = await openPlacement()
    const { placement } = given
    const at = (sequence: number, clock_ms: number) => {
      const report = told('a', sequence)
      return { ...report, worker: { ...report.worker, clock_ms } } as HostReport
    }
    const hours = 5 * 3_600_000
    await placement.recordHost(at(1, Date.now() + hours))

    expect(await placement.recordHost(at(2, Date.now() - hours))).toEqual(TAKEN)

    const [host] = await placement.hostStates()
    expect([host?.up, (host?.secondsSinceSeen ?? 99) < 60]).toEqual([true, true])
    await expect(placement.recordHost(at(1, Date.now() + hours))).rejects.toMatchObject({ code: 'STALE_REPORT' })
  })

  it('moves nothing that schedulers keep in memory by its signs of life', async () => {
    await using given = await openPlacement()
    const { placement } = given
    await placement.recordHost(told('a', 1))
    let { cursor } = await placement.changesSince()
    // As long as a transaction of somebody else's is open that is older, the report is told again.
    await vi.waitFor(async () => {
      const changes = await placement.changesSince(cursor)
      cursor = changes.cursor
      expect(changes.hosts).toEqual([])
    }, SETTLE)

    await placement.noteSeen([told('a', 2)])
    await placement.noteLeft({ host: 'cn-1', worker_id: IDS.a, sequence: 3 })
    await placement.noteSeen([told('b', 1)])

    expect(await placement.changesSince(cursor)).toMatchObject({ hosts: [], removed: [] })
  })
})
