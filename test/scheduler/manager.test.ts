import { randomUUID } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { ClaimRefused, DuplicateHost, InvalidInventory, StaleReport } from '../../src/errors.ts'
import type { HostReport, UnchangedHost } from '../../src/objects/host-report.ts'
import type { Selection } from '../../src/objects/request-spec.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import type { HostState } from '../../src/scheduler/host-state.ts'
import { type SchedulerDeps, SchedulerManager } from '../../src/scheduler/manager.ts'
import type { Claim } from '../../src/scheduler/placement/claim.ts'
import type { Noted, ToldOfHost } from '../../src/scheduler/placement/feed.ts'
import type { HostRecord } from '../../src/scheduler/placement/host-records.ts'
import { DatabasePlacement, type Placement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { schedulingReport, summaryOf } from '../../src/scheduler/scheduling-report.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aHost, aRequestSpec, INSTANCE_UUID } from './builders.ts'

const info = { context: newRequestContext(), signal: new AbortController().signal }

/** A scheduler that has read the hosts, and asks for them again only where it must. */
async function schedulerOf(placement: Placement, more: Partial<SchedulerDeps> = {}) {
  const manager = new SchedulerManager({
    placement,
    filters: defaultFilters(),
    weighers: defaultWeighers(),
    options: { refreshIntervalMs: 60_000 },
    logger: pino({ level: 'silent' }),
    ...more,
  })
  await manager.start()
  return Object.assign(manager, { [Symbol.asyncDispose]: () => manager.close() })
}

/** Placement that has these hosts, and loses the first claims to others. */
class FakePlacement implements Placement {
  hosts: readonly HostState[]
  #losses: number
  readings = 0
  tried: string[] = []
  noted: ToldOfHost[] = []
  recorded: HostReport[] = []
  onLoss = () => {}
  made: Selection | undefined

  constructor(hosts: readonly HostState[], losses = 0) {
    this.hosts = hosts
    this.#losses = losses
  }

  async changesSince() {
    this.readings++
    return { cursor: '1', hosts: this.hosts, uses: [], removed: [], complete: true }
  }

  async claim(_uuid: string, selection: Selection) {
    this.tried.push(selection.host)
    if (this.#losses-- <= 0) return selection
    this.onLoss()
    throw new ClaimRefused('1 asked of VCPU, which has 16 of 16 used')
  }

  hintedHosts = async () => undefined
  toldGroup = async () => undefined
  claimOf = async () => this.made
  held = async () => this.made
  claimsOf = async () => new Map<string, Selection>()
  async grant({ instance_uuid, selection }: Claim) {
    return { selection: await this.claim(instance_uuid, selection), isNew: true, inventories: [] }
  }

  claimAll = async (claims: readonly Claim[]) => Promise.all(claims.map((claim) => this.grant(claim)))
  release = async () => undefined
  record: HostRecord = { changed: false, overcommitted: [], closed: [] }
  async recordHost(report: HostReport) {
    this.recorded.push(report)
    return this.record
  }
  hostStates = async () => this.hosts
  hostsSeen = async () => []
  async noteSeen(told: readonly ToldOfHost[]): Promise<readonly Noted[]> {
    this.noted.push(...told)
    return told.map(noted)
  }
  refuseUnchanged = async (_: UnchangedHost) => {}
  noteDown = async () => {}
  workersOf = async () => new Map<string, string>()
  noteLeft = async () => true
}

const noted = (told: ToldOfHost): Noted => ({ told, digest: DIGEST, follows: null })
const DIGEST = 'd'.repeat(64)

const [A, B] = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const

function ofWorker(worker_id: string, sequence: number, clock_ms = Date.now()): HostReport {
  return { ...aHostReport('cn-1'), worker: { worker_id, sequence, machine: 'm1', pid: 7, clock_ms } }
}

/** What the weighers say of hosts that they cannot tell apart. */
const EQUAL = Object.fromEntries(defaultWeighers().map(({ name }) => [name, 0]))

describe('selecting a destination', () => {
  it('claims the root resources and a slot of the best host, and tells why it was this one', async () => {
    const placement = new FakePlacement([
      aHost('clear'),
      aHost('tight', { slots: { 'amd-sev': 2 } }),
      aHost('roomy', { slots: { 'amd-sev': 15 }, used: { VCPU: 32, MEMORY_MB: 32_768 } }),
    ])

    await using scheduler = await schedulerOf(placement)

    const { selection } = await scheduler.selectDestinations(
      { request_spec: aRequestSpec({ model: 'amd-sev', vcpus: 2, memoryMb: 2048, diskGb: 20 }) },
      info,
    )

    expect(selection).toEqual({
      host: 'tight',
      attempt: 1,
      mem_encryption: { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' },
      allocations: [
        { provider: 'tight', resource_class: 'VCPU', amount: 2 },
        { provider: 'tight', resource_class: 'MEMORY_MB', amount: 2080, pinned: true },
        { provider: 'tight', resource_class: 'DISK_GB', amount: 20 },
        { provider: 'tight_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
      ],
      report: {
        model: 'amd-sev',
        hosts_considered: 3,
        rejected: [{ filter: 'MemEncryptionModel', hosts: 1 }],
        rejections: [{ host: 'clear', filter: 'MemEncryptionModel', reason: 'offers no SEV' }],
        ranking: [
          { host: 'tight', weight: 7, weights: { ...EQUAL, RAM: 1, CPU: 1, MemEncryptionContext: 5 } },
          { host: 'roomy', weight: 0, weights: EQUAL },
        ],
      },
    })
  })

  it('takes the next best host when the best was lost to a faster claim, and says so', async () => {
    const placement = new FakePlacement([aHost('best'), aHost('next', { used: { VCPU: 1 } })], 1)

    await using scheduler = await schedulerOf(placement)

    const { selection } = await scheduler.selectDestinations({ request_spec: aRequestSpec() }, info)

    expect(placement.tried).toEqual(['best', 'next'])
    expect(selection.report).toEqual({
      hosts_considered: 2,
      rejected: [{ filter: 'Claim', hosts: 1 }],
      rejections: [{ host: 'best', filter: 'Claim', reason: '1 asked of VCPU, which has 16 of 16 used' }],
      ranking: [{ host: 'next', weight: 0, weights: EQUAL }],
    })
  })

  it('reads the hosts again after each loss, and takes what is there then', async () => {
    const placement = new FakePlacement([aHost('a'), aHost('b')], 2)
    await using scheduler = await schedulerOf(placement)
    placement.onLoss = () => {
      if (placement.tried.length === 2) placement.hosts = [aHost('c')]
    }

    const { selection } = await scheduler.selectDestinations({ request_spec: aRequestSpec() }, info)

    expect(selection.host).toBe('c')
    expect(placement.tried.slice(0, 2).toSorted()).toEqual(['a', 'b'])
    expect(placement.readings).toBe(3)
  })

  it('gives up when every host was lost for the third time', async () => {
    const placement = new FakePlacement([aHost('a')], 99)
    await using scheduler = await schedulerOf(placement)

    await expect(scheduler.selectDestinations({ request_spec: aRequestSpec() }, info)).rejects.toMatchObject({
      code: 'NO_VALID_HOST',
      message: `no valid host for instance ${INSTANCE_UUID}: 1 host considered; Claim rejected 1`,
      details: { fix: 'try again: other claims were faster' },
    })
    expect(placement.tried).toEqual(['a', 'a', 'a'])
  })

  it('says host by host why there is none, once it has made sure', async () => {
    const full = { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 15 } } as const
    const placement = new FakePlacement([aHost('cn-1'), aHost('cn-2')])
    await using scheduler = await schedulerOf(placement)
    placement.hosts = [aHost('cn-1', full), aHost('cn-2')]

    await expect(
      scheduler.selectDestinations({ request_spec: aRequestSpec({ model: 'amd-sev' }) }, info),
    ).rejects.toMatchObject({
      code: 'NO_VALID_HOST',
      message: `no valid host for instance ${INSTANCE_UUID}: 2 hosts considered; MemEncryptionSlots rejected 1, MemEncryptionModel 1`,
      details: {
        report: {
          hosts_considered: 2,
          rejections: [
            { host: 'cn-1', filter: 'MemEncryptionSlots', reason: '15 of 15 SEV slots used, 0 reserved' },
            { host: 'cn-2', filter: 'MemEncryptionModel', reason: 'offers no SEV' },
          ],
          ranking: [],
        },
      },
    })
    expect(placement.readings).toBe(2)
  })

  it('refuses nobody from what it remembers: a host that has room by now takes the instance', async () => {
    const placement = new FakePlacement([aHost('cn-1', { vcpus: 1, used: { VCPU: 1 } })])
    await using scheduler = await schedulerOf(placement)
    placement.hosts = [aHost('cn-1', { vcpus: 1 })]

    const { selection } = await scheduler.selectDestinations({ request_spec: aRequestSpec() }, info)

    expect(selection.host).toBe('cn-1')
  })

  it('waits for a claim that has the last place and may yet fail, before it refuses', async () => {
    const placement = new FakePlacement([aHost('cn-1', { vcpus: 1 })], 1)
    const gate = new EventEmitter()
    const opened = once(gate, 'open')
    const claim = placement.claim.bind(placement)
    placement.claim = async (uuid, selection) => {
      if (placement.tried.length === 0) await opened
      return await claim(uuid, selection)
    }
    await using scheduler = await schedulerOf(placement)
    const abandoned = new AbortController()
    const ask = (uuid: string, signal = info.signal) =>
      scheduler.selectDestinations(
        { request_spec: aRequestSpec({ spec: { instance_uuid: uuid } }) },
        { ...info, signal },
      )

    const losing = ask(randomUUID(), abandoned.signal)
    const waiting = ask(randomUUID())
    abandoned.abort(new Error('shutting down'))
    gate.emit('open')

    await expect(losing).rejects.toThrow('shutting down')
    expect((await waiting).selection.host).toBe('cn-1')
  })

  it('gives a try the claim that it has already, also where that took the last place', async () => {
    const placement = new FakePlacement([aHost('cn-1', { vcpus: 1, used: { VCPU: 1 } })])
    placement.made = { host: 'cn-1', attempt: 1, allocations: [], report: schedulingReport(summaryOf([]), []) }
    await using scheduler = await schedulerOf(placement)

    expect(await scheduler.selectDestinations({ request_spec: aRequestSpec() }, info)).toEqual({
      selection: { ...placement.made, mem_encryption: null },
    })
    expect(placement.tried).toEqual([])
  })

  it('spreads those who lost over ever more of the best, by their uuids', async () => {
    const names = Array.from({ length: 16 }, (_, n) => `cn-${String(n).padStart(2, '0')}`)
    // Each is a little worse than the one before.
    const hosts = names.map((name, n) => aHost(name, { used: { VCPU: n } }))
    const tried = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const placement = new FakePlacement(hosts, 2)
        await using scheduler = await schedulerOf(placement)
        const spec = { instance_uuid: randomUUID() }
        await scheduler.selectDestinations({ request_spec: aRequestSpec({ spec }) }, info)
        return placement.tried
      }),
    )

    expect(new Set(tried.map(([first]) => first))).toEqual(new Set(['cn-00']))
    const [seconds, thirds] = [1, 2].map((nth) => new Set(tried.map((hosts) => hosts[nth])))
    expect(seconds?.size).toBeGreaterThan(3)
    expect([...(seconds ?? [])].toSorted().at(-1)).toBe('cn-08')
    expect([...(thirds ?? [])].some((host) => String(host) > 'cn-09')).toBe(true)
  })

  it("passes over a host without a slot that a user's list of filters let through", async () => {
    const placement = new FakePlacement([aHost('clear')])
    await using scheduler = await schedulerOf(placement, { filters: [], weighers: [] })

    await expect(
      scheduler.selectDestinations({ request_spec: aRequestSpec({ model: 'amd-sev' }) }, info),
    ).rejects.toMatchObject({
      code: 'NO_VALID_HOST',
      details: { report: { rejections: [{ host: 'clear', filter: 'Claim', reason: 'no pool has what was asked' }] } },
    })
    expect(placement.tried).toEqual([])
  })

  it('claims nothing once the request is given up', async () => {
    const placement = new FakePlacement([aHost('a')])
    await using scheduler = await schedulerOf(placement)
    const signal = AbortSignal.abort(new Error('shutting down'))

    await expect(scheduler.selectDestinations({ request_spec: aRequestSpec() }, { ...info, signal })).rejects.toThrow(
      'shutting down',
    )
    expect(placement.tried).toEqual([])
  })
})

describe('a report of a host', () => {
  it('is written at once when the host is new, and gathered with others when it is known', async () => {
    const placement = new FakePlacement([aHost('cn-2')])
    const scheduler = await schedulerOf(placement)
    const [first, second] = [aHostReport('cn-2'), aHostReport('cn-2', { vcpus: 8 })]

    await scheduler.reportHost({ report: aHostReport('cn-1') }, info)
    expect([placement.recorded, placement.noted]).toEqual([[aHostReport('cn-1')], []])
    await scheduler.reportHost({ report: first }, info)
    await scheduler.reportHost({ report: second }, info)
    await scheduler.close()

    expect([placement.recorded, placement.noted]).toEqual([[aHostReport('cn-1')], [second]])
  })

  it('that turns out to be news is written by itself, and one that cannot be true holds back nobody', async () => {
    const lines: { msg: string; host?: string }[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const names = ['cn-1', 'cn-2', 'cn-3']
    const placement = new FakePlacement(names.map((name) => aHost(name)))
    const scheduler = await schedulerOf(placement, { logger })
    const reports = names.map((host) => aHostReport(host))
    placement.noteSeen = async (told) => told.filter(({ host }) => host === 'cn-2').map(noted)
    placement.recordHost = async (report) => {
      if (report.host === 'cn-1') throw new InvalidInventory('it has -1 VCPU')
      placement.recorded.push(report)
      return placement.record
    }

    for (const report of reports) await scheduler.reportHost({ report }, info)
    await scheduler.close()

    expect(placement.recorded).toEqual([reports[2]])
    expect(lines.filter(({ msg }) => msg === 'the report was not taken')).toMatchObject([{ host: 'cn-1' }])
  })

  it('is not pushed out by one of another worker, nor by an earlier one of its own', async () => {
    const placement = new FakePlacement([aHost('cn-1')])
    const scheduler = await schedulerOf(placement)
    const [own, late, strange] = [ofWorker(A, 2), ofWorker(A, 1), ofWorker(B, 9)]

    for (const report of [own, strange, late]) await scheduler.reportHost({ report }, info)
    await scheduler.close()

    expect(placement.noted).toEqual([own, strange])
  })

  it('that nothing is new is noted with the others, and one that is not is refused by name or else dropped', async () => {
    const lines: Record<string, unknown>[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const placement = new FakePlacement([aHost('cn-1')])
    const scheduler = await schedulerOf(placement, { logger })
    lines.splice(0)
    const unchanged = ['cn-1', 'cn-2', 'cn-3'].map((host) => {
      const worker = { worker_id: A, sequence: 2, machine: 'm1', pid: 7, clock_ms: 0 }
      return { host, report_digest: DIGEST, worker }
    })
    placement.noteSeen = async (told) => {
      placement.noted.push(...told)
      return told.filter(({ host }) => host === 'cn-1').map(noted)
    }
    placement.refuseUnchanged = async ({ host }) => {
      if (host === 'cn-2') throw new DuplicateHost('two workers', { holder_id: B })
    }

    for (const one of unchanged) await scheduler.reportHostUnchanged(one, info)
    await scheduler.close()

    expect([placement.noted, placement.recorded]).toEqual([unchanged, []])
    expect(lines).toMatchObject([{ host: 'cn-2', code: 'DUPLICATE_HOST', msg: 'the report was not taken' }])
  })

  it('names to hosts that report every few seconds or less often the queue of their signs of life', async () => {
    await using scheduler = await schedulerOf(new FakePlacement([aHost('cn-1')]))
    const answered = async (report_interval_seconds: number) =>
      await scheduler.announceHost({ report: { ...aHostReport('cn-1'), report_interval_seconds } }, info)

    expect((await answered(60)).unchanged_server).toBe('_signs-of-life')
    expect((await answered(5)).unchanged_server).toBe('_signs-of-life')
    expect((await answered(4.9)).unchanged_server).toBeUndefined()
  })

  it('that many make at a time is answered to the first at once, and to the others together', async () => {
    const placement = new FakePlacement(['cn-1', 'cn-2', 'cn-3'].map((host) => aHost(host)))
    await using scheduler = await schedulerOf(placement)
    const groups: string[][] = []
    placement.noteSeen = async (told) => {
      groups.push(told.map(({ host }) => host))
      return told.filter(({ host }) => host !== 'cn-3').map(noted)
    }
    placement.record = { changed: true, overcommitted: [], closed: [], digest: 'e'.repeat(64) }

    const names = ['cn-1', 'cn-2', 'cn-3']
    const answers = await Promise.all(names.map((host) => scheduler.announceHost({ report: aHostReport(host) }, info)))

    expect(groups).toEqual([['cn-1'], ['cn-2', 'cn-3']])
    expect(answers.map((answer) => answer.report_digest)).toEqual([DIGEST, DIGEST, 'e'.repeat(64)])
    expect(placement.recorded.map(({ host }) => host)).toEqual(['cn-3'])
  })

  it('of a second worker with its host name is refused and counted each time, and said once for each cause', async () => {
    const lines: Record<string, unknown>[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const placement = new FakePlacement([aHost('cn-1')])
    await using scheduler = await schedulerOf(placement, { logger })
    lines.splice(0)
    let error: Error = new DuplicateHost('two workers', { holder_id: A })
    placement.noteSeen = async () => []
    placement.recordHost = async () => {
      throw error
    }
    const announce = () => scheduler.announceHost({ report: ofWorker(B, 1) }, info)

    await expect(announce()).rejects.toThrow('two workers')
    error = new DuplicateHost('two workers, told otherwise', { holder_id: A })
    await expect(announce()).rejects.toThrow('two workers')
    error = new StaleReport('too late')
    await expect(announce()).rejects.toThrow('too late')
    error = new InvalidInventory('it has -1 VCPU')
    await expect(announce()).rejects.toThrow('it has -1 VCPU')

    const said = { level: 40, host: 'cn-1', request_id: info.context.request_id, msg: 'the report was not taken' }
    expect(lines).toEqual([
      { ...said, code: 'DUPLICATE_HOST', reason: 'two workers' },
      { ...said, code: 'INVALID_INVENTORY', reason: 'it has -1 VCPU' },
    ])
    expect(Object.fromEntries(scheduler.reports.refused)).toEqual({
      DUPLICATE_HOST: 2,
      STALE_REPORT: 1,
      INVALID_INVENTORY: 1,
    })
  })

  it('that says that the clock of its host is off is taken, and the clock told once', async () => {
    const lines: Record<string, unknown>[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const placement = new FakePlacement([aHost('cn-1')])
    await using scheduler = await schedulerOf(placement, { logger })
    lines.splice(0)
    placement.noteSeen = async () => []
    const minute = 60_000
    for (const aheadMs of [300 * minute, 300 * minute, 0, -120 * minute]) {
      const clock_ms = Date.now() + aheadMs
      await scheduler.announceHost({ report: ofWorker(A, 1, clock_ms) }, info)
    }

    expect(placement.recorded).toHaveLength(4)
    expect(lines).toEqual([
      expect.objectContaining({ level: 40, host: 'cn-1', machine: 'm1', pid: 7 }),
      expect.objectContaining({ level: 40, host: 'cn-1', machine: 'm1', pid: 7 }),
    ])
    const [ahead, behind] = lines as { msg: string; clock_ahead_seconds: number }[]
    expect(ahead?.msg).toMatch(/^the clock of this host is (1799\d|18000) s ahead of this scheduler's; .* \(NTP\)$/)
    expect(behind?.msg).toMatch(/^the clock of this host is 720\d s behind this scheduler's; /)
    expect(behind?.clock_ahead_seconds).toBeLessThan(0)
  })

  it('of a worker that follows another one is said, and so is a goodbye of the one that is taken', async () => {
    const lines: Record<string, unknown>[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const placement = new FakePlacement([aHost('cn-1')])
    await using scheduler = await schedulerOf(placement, { logger })
    lines.splice(0)
    placement.noteSeen = async (told) => told.map((one) => ({ ...noted(one), follows: 'process 3 on machine m0' }))
    const { request_id } = info.context

    expect(await scheduler.announceHost({ report: ofWorker(A, 1) }, info)).toMatchObject({ report_digest: DIGEST })
    await scheduler.leaveHost({ host: 'cn-1', worker_id: A, sequence: 2 }, info)
    placement.noteLeft = async () => false
    await scheduler.leaveHost({ host: 'cn-1', worker_id: B, sequence: 2 }, info)

    expect(lines).toEqual([
      {
        level: 30,
        host: 'cn-1',
        machine: 'm1',
        pid: 7,
        follows: 'process 3 on machine m0',
        request_id,
        msg: 'another worker serves this host now',
      },
      { level: 30, host: 'cn-1', worker_id: A, request_id, msg: 'the worker of this host left' },
    ])
  })

  it('that changed is logged, with what instances use beyond it and what is off; one that did not is not', async () => {
    const lines: { msg: string }[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const beyond = { provider: 'cn-1', resource_class: 'VCPU', used: 9, pinned: 0, capacity: 8, offered: true }
    const off = {
      provider: 'cn-1_amd_sev_snp',
      model: 'SEV-SNP',
      other_provider: 'cn-1_amd_sev_es',
      other_model: 'SEV-ES',
      other_used: 2,
    }
    const placement = new FakePlacement([])
    await using scheduler = await schedulerOf(placement, { logger })
    lines.splice(0)
    placement.record = { changed: true, overcommitted: [beyond], closed: [off] }
    await scheduler.reportHost({ report: aHostReport('cn-1') }, info)
    placement.record = { changed: false, overcommitted: [beyond], closed: [off] }
    await scheduler.reportHost({ report: aHostReport('cn-2') }, info)

    expect(lines).toEqual([
      { level: 30, host: 'cn-1', request_id: info.context.request_id, msg: 'host reported a change' },
      {
        level: 40,
        host: 'cn-1',
        ...beyond,
        request_id: info.context.request_id,
        msg: 'instances use more than the host has; it takes no more of them until enough are gone',
      },
      {
        level: 40,
        host: 'cn-1',
        ...off,
        request_id: info.context.request_id,
        msg: 'the host offers a model that is off until the last slot of the other is given back',
      },
    ])
  })
})

describe.each(databaseEngines)('several schedulers on $name', ({ open }) => {
  async function openSchedulers(count: number) {
    const test = await open(placementMigrations)
    const databases = await Promise.all(Array.from({ length: count }, () => test.connect()))
    const managers = await Promise.all(databases.map((database) => schedulerOf(new DatabasePlacement(database))))
    const first = managers[0] as SchedulerManager
    const close = async () => {
      await Promise.all(managers.map((manager) => manager.close()))
      await test[Symbol.asyncDispose]()
    }
    return { managers, first, [Symbol.asyncDispose]: close }
  }

  it('give 40 encrypted instances the 15 slots of three hosts, and the others a reason', async () => {
    await using given = await openSchedulers(2)
    for (const host of ['cn-1', 'cn-2', 'cn-3']) {
      await given.first.reportHost({ report: aHostReport(host, { slots: { 'amd-sev-snp': 5 } }) }, info)
    }

    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) => {
        const spec = aRequestSpec({ model: 'amd-sev-snp', spec: { instance_uuid: randomUUID() } })
        return (given.managers[n % 2] as SchedulerManager).selectDestinations({ request_spec: spec }, info)
      }),
    )

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(15)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'NO_VALID_HOST' })
    }
    const { hosts } = await given.first.listHosts({})
    expect(hosts.map(({ instances, providers }) => [instances, providers[1]])).toEqual(
      ['cn-1', 'cn-2', 'cn-3'].map((host) => [
        5,
        {
          name: `${host}_amd_sev_snp`,
          model: 'amd-sev-snp',
          traits: ['HW_CPU_X86_AMD_SEV_SNP', 'OWNER_NOVA'],
          inventories: { MEM_ENCRYPTION_CONTEXT: { total: 5, reserved: 0, allocation_ratio: 1, capacity: 5, used: 5 } },
        },
      ]),
    )
  })

  it('tell their hosts in pages, by name, whatever their order in memory', async () => {
    await using given = await openSchedulers(1)
    for (const n of [3, 1, 5, 2, 4]) await given.first.reportHost({ report: aHostReport(`cn-${n}`) }, info)
    const page = async (query: Parameters<SchedulerManager['listHosts']>[0]) =>
      (await given.first.listHosts(query)).hosts.map(({ host }) => host)

    expect(await page({ limit: 2 })).toEqual(['cn-1', 'cn-2'])
    expect(await page({ limit: 2, marker: 'cn-2' })).toEqual(['cn-3', 'cn-4'])
    expect(await page({ marker: 'cn-5' })).toEqual([])
    expect(await page({ hosts: ['cn-5', 'cn-9', 'cn-1'] })).toEqual(['cn-1', 'cn-5'])
  })

  it('give one try the same answer however often and whomever it asks', async () => {
    await using given = await openSchedulers(3)
    for (const host of ['cn-1', 'cn-2']) await given.first.reportHost({ report: aHostReport(host) }, info)
    const request_spec = aRequestSpec()

    const answers = await Promise.all(
      [...given.managers, ...given.managers].map((manager) => manager.selectDestinations({ request_spec }, info)),
    )

    expect(answers).toEqual(answers.map(() => answers[0]))
    expect(await given.first.selectDestinations({ request_spec }, info)).toEqual(answers[0])
  })

  it('move an instance in one step at its next try, and claim nothing for it after it gave all back', async () => {
    await using given = await openSchedulers(1)
    const { first } = given
    for (const host of ['cn-1', 'cn-2']) await first.reportHost({ report: aHostReport(host) }, info)
    const asked = (attempt: number, ignore_hosts: string[] = []) =>
      first.selectDestinations({ request_spec: aRequestSpec({ spec: { attempt, ignore_hosts } }) }, info)

    const { selection } = await asked(1)
    const moved = await asked(2, [selection.host])
    await first.releaseAllocations({ instance_uuid: INSTANCE_UUID, attempt: 2 }, info)

    expect(moved.selection.host).not.toBe(selection.host)
    await expect(asked(2)).rejects.toMatchObject({ code: 'STALE_ATTEMPT' })
    const { hosts } = await first.listHosts({ hosts: ['cn-1', 'cn-2'] })
    expect(hosts.map(({ instances }) => instances)).toEqual([0, 0])
  })
})
