import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { ClaimRefused } from '../../src/errors.ts'
import type { Selection } from '../../src/objects/request-spec.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import type { HostState } from '../../src/scheduler/host-state.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import type { HostRecord } from '../../src/scheduler/placement/host-records.ts'
import { DatabasePlacement, type Placement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aHost, aRequestSpec, INSTANCE_UUID } from './builders.ts'

const info = { context: newRequestContext(), signal: new AbortController().signal }

function managerOf(placement: Placement): SchedulerManager {
  return new SchedulerManager({
    placement,
    filters: defaultFilters(),
    weighers: defaultWeighers(),
    logger: pino({ level: 'silent' }),
  })
}

/** Placement that has these hosts at each look, and loses the first claims to others. */
class FakePlacement implements Placement {
  readonly #looks: readonly (readonly HostState[])[]
  #losses: number
  looks = 0
  tried: string[] = []

  constructor(looks: readonly (readonly HostState[])[], losses = 0) {
    this.#looks = looks
    this.#losses = losses
  }

  async hostStates() {
    return this.#looks[Math.min(this.looks++, this.#looks.length - 1)] ?? []
  }

  async claim(_uuid: string, selection: Selection) {
    this.tried.push(selection.host)
    if (this.#losses-- > 0) throw new ClaimRefused('1 asked of VCPU, which has 16 of 16 used')
    return selection
  }

  claimOf = async () => undefined
  release = async () => undefined
  record: HostRecord = { changed: false, overcommitted: [] }
  recordHost = async () => this.record
  changesSince = async () => ({ cursor: '1', hosts: await this.hostStates(), removed: [], complete: true })
  hostsSeen = async () => []
  noteSeen = async () => []
  noteDown = async () => {}
}

/** What the weighers say of hosts that they cannot tell apart. */
const EQUAL = Object.fromEntries(defaultWeighers().map(({ name }) => [name, 0]))

describe('selecting a destination', () => {
  it('claims the root resources and a slot of the best host, and tells why it was this one', async () => {
    const placement = new FakePlacement([
      [
        aHost('clear'),
        aHost('tight', { slots: { 'amd-sev': 2 } }),
        aHost('roomy', { slots: { 'amd-sev': 15 }, used: { VCPU: 32, MEMORY_MB: 32_768 } }),
      ],
    ])

    const { selection } = await managerOf(placement).selectDestinations(
      { request_spec: aRequestSpec({ model: 'amd-sev', vcpus: 2, memoryMb: 2048, diskGb: 20 }) },
      info,
    )

    expect(selection).toEqual({
      host: 'tight',
      attempt: 1,
      allocations: [
        { provider: 'tight', resource_class: 'VCPU', amount: 2 },
        { provider: 'tight', resource_class: 'MEMORY_MB', amount: 2080, pinned: true },
        { provider: 'tight', resource_class: 'DISK_GB', amount: 20 },
        { provider: 'tight_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
      ],
      report: {
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
    const placement = new FakePlacement([[aHost('best'), aHost('next', { used: { VCPU: 1 } })]], 1)

    const { selection } = await managerOf(placement).selectDestinations({ request_spec: aRequestSpec() }, info)

    expect(placement.tried).toEqual(['best', 'next'])
    expect(selection.report).toEqual({
      hosts_considered: 2,
      rejected: [{ filter: 'Claim', hosts: 1 }],
      rejections: [{ host: 'best', filter: 'Claim', reason: '1 asked of VCPU, which has 16 of 16 used' }],
      ranking: [{ host: 'next', weight: 0, weights: EQUAL }],
    })
  })

  it('looks again when every host was lost, and takes what is there then', async () => {
    const placement = new FakePlacement([[aHost('a'), aHost('b')], [aHost('c')]], 2)

    const { selection } = await managerOf(placement).selectDestinations({ request_spec: aRequestSpec() }, info)

    expect(selection.host).toBe('c')
    expect(placement.looks).toBe(2)
  })

  it('gives up after the third look', async () => {
    const placement = new FakePlacement([[aHost('a')]], 99)

    await expect(managerOf(placement).selectDestinations({ request_spec: aRequestSpec() }, info)).rejects.toMatchObject(
      {
        code: 'NO_VALID_HOST',
        message: `no valid host for instance ${INSTANCE_UUID}: 1 host considered; Claim rejected 1`,
        details: { fix: 'try again: other claims were faster' },
      },
    )
    expect(placement.looks).toBe(3)
  })

  it('says host by host why there is none, without a second look', async () => {
    const full = { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 15 } } as const
    const placement = new FakePlacement([[aHost('cn-1', full), aHost('cn-2')]])

    await expect(
      managerOf(placement).selectDestinations({ request_spec: aRequestSpec({ model: 'amd-sev' }) }, info),
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
    expect(placement.looks).toBe(1)
  })

  it("passes over a host without a slot that a user's list of filters let through", async () => {
    const placement = new FakePlacement([[aHost('clear')]])
    const manager = new SchedulerManager({ placement, filters: [], weighers: [], logger: pino({ level: 'silent' }) })

    await expect(
      manager.selectDestinations({ request_spec: aRequestSpec({ model: 'amd-sev' }) }, info),
    ).rejects.toMatchObject({
      code: 'NO_VALID_HOST',
      details: { report: { rejections: [{ host: 'clear', filter: 'Claim', reason: 'no pool has what was asked' }] } },
    })
    expect(placement.tried).toEqual([])
  })

  it('claims nothing once the request is given up', async () => {
    const placement = new FakePlacement([[aHost('a')]])
    const signal = AbortSignal.abort(new Error('shutting down'))

    await expect(
      managerOf(placement).selectDestinations({ request_spec: aRequestSpec() }, { ...info, signal }),
    ).rejects.toThrow('shutting down')
    expect(placement.tried).toEqual([])
  })
})

describe('a report of a host', () => {
  it('that changed is logged, with what instances use beyond it; one that did not is not', async () => {
    const lines: { msg: string }[] = []
    const logger = pino({ base: null, timestamp: false }, { write: (line) => lines.push(JSON.parse(line)) })
    const beyond = { provider: 'cn-1', resource_class: 'VCPU', used: 9, pinned: 0, capacity: 8, offered: true }
    const placement = new FakePlacement([])
    const manager = new SchedulerManager({ placement, filters: [], weighers: [], logger })
    placement.record = { changed: true, overcommitted: [beyond] }
    await manager.reportHost({ report: aHostReport('cn-1') }, info)
    placement.record = { changed: false, overcommitted: [beyond] }
    await manager.reportHost({ report: aHostReport('cn-1') }, info)

    expect(lines).toEqual([
      { level: 30, host: 'cn-1', request_id: info.context.request_id, msg: 'host reported a change' },
      {
        level: 40,
        host: 'cn-1',
        ...beyond,
        request_id: info.context.request_id,
        msg: 'instances use more than the host has; it takes no more of them until enough are gone',
      },
    ])
  })
})

describe.each(databaseEngines)('several schedulers on $name', ({ open }) => {
  async function openSchedulers(count: number) {
    const test = await open(placementMigrations)
    const databases = await Promise.all(Array.from({ length: count }, () => test.connect()))
    const managers = databases.map((database) => managerOf(new DatabasePlacement(database)))
    const first = managers[0] as SchedulerManager
    return { managers, first, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
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
          inventories: { MEM_ENCRYPTION_CONTEXT: { total: 5, reserved: 0, capacity: 5, used: 5 } },
        },
      ]),
    )
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
