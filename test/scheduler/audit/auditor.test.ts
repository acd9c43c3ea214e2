import { describe, expect, it } from 'vitest'
import { ComputeApi } from '../../../src/compute/rpc-api.ts'
import { ConductorApi } from '../../../src/conductor/rpc-api.ts'
import type { Database } from '../../../src/database/database.ts'
import { InstanceNotFound, NoSuchServer, UnsupportedVersion } from '../../../src/errors.ts'
import type { GuestReport } from '../../../src/objects/guest-report.ts'
import type { InstanceState } from '../../../src/objects/instance.ts'
import type { RpcClient } from '../../../src/rpc/client.ts'
import type { RequestInfo } from '../../../src/rpc/contract.ts'
import { Auditor } from '../../../src/scheduler/audit/auditor.ts'
import { auditMigrations } from '../../../src/scheduler/audit/schema.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { SchedulerApi } from '../../../src/scheduler/rpc-api.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { silent } from '../../support/transports.ts'
import { aGuest, anInstanceState, uuidOf } from './observations.ts'

const info: RequestInfo = { context: { request_id: 'req-1' }, signal: new AbortController().signal }
const DELETED = { vm_state: 'deleted', host: null } as const

/** What the others say, which a test can change while an audit runs; and what they were asked to do. */
class World {
  readonly guests = new Map<string, readonly GuestReport[]>()
  readonly instances = new Map<string, InstanceState>()
  readonly asked: string[] = []
  hasConductor = true
  /** Before each list of guests. */
  beforeLook: (look: number) => void | Promise<void> = () => {}
  /** Between the last look and the repair. */
  beforeRepair = () => {}
  /** What becomes of a termination. */
  terminate: (host: string, uuid: string) => void = (host, uuid) => {
    this.guests.set(
      host,
      (this.guests.get(host) ?? []).filter((guest) => guest.uuid !== uuid),
    )
  }
  #looks = 0

  client(placement: DatabasePlacement): Pick<RpcClient, 'of'> {
    const apis = new Map<unknown, unknown>([
      [ComputeApi, this.#compute()],
      [ConductorApi, this.#conductor()],
      [
        SchedulerApi,
        {
          releaseAllocations: async (_: unknown, args: { instance_uuid: string; attempt: number }) => {
            this.asked.push(`release ${Number(args.instance_uuid.slice(-12))} ${args.attempt}`)
            await placement.release(args)
          },
        },
      ],
    ])
    return { of: ((api: unknown) => apis.get(api)) as RpcClient['of'] }
  }

  #compute() {
    return {
      listGuests: async (_: unknown, __: unknown, { server }: { server: string }) => {
        await this.beforeLook(++this.#looks)
        const guests = this.guests.get(server)
        if (guests === undefined) throw new NoSuchServer(`nobody serves ${server}`)
        return { guests, busy: 0, keys: null }
      },
      terminateInstance: async (
        _: unknown,
        args: { instance: InstanceState; void: boolean },
        { server }: { server: string },
      ) => {
        const { uuid, attempt } = args.instance
        this.asked.push(`terminate ${Number(uuid.slice(-12))} ${attempt} on ${server}${args.void ? ', void' : ''}`)
        this.terminate(server, uuid)
      },
    }
  }

  #conductor() {
    return {
      listInstanceStates: async (_: unknown, query: { uuids?: string[]; host?: string; marker?: string }) => {
        if (!this.hasConductor) throw new NoSuchServer('nobody serves sevbus-conductor')
        if (query.marker !== undefined) return { instances: [] }
        const all = [...this.instances.values()]
        return {
          instances:
            query.uuids === undefined
              ? all.filter(({ vm_state, host }) => vm_state !== 'deleted' && (query.host ?? host) === host)
              : all.filter(({ uuid }) => query.uuids?.includes(uuid)),
        }
      },
      getInstance: async (_: unknown, { instance_uuid }: { instance_uuid: string }) => {
        this.beforeRepair()
        const instance = this.instances.get(instance_uuid)
        if (instance === undefined) throw new InstanceNotFound(`no instance has the uuid ${instance_uuid}`)
        return { instance }
      },
    }
  }
}

async function aWorld(database: Database) {
  const placement = new DatabasePlacement(database)
  const world = new World()
  for (const host of ['h1', 'h2']) {
    await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': 3 } }))
    world.guests.set(host, [])
  }
  const claim = (n: number, host: string, attempt = 1) =>
    placement.claim(uuidOf(n), {
      host,
      attempt,
      allocations: [
        { provider: host, resource_class: 'VCPU', amount: 1 },
        { provider: host, resource_class: 'MEMORY_MB', amount: 1024, pinned: true },
        { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
      ],
      report: { hosts_considered: 1, rejected: [], rejections: [], ranking: [] },
    })
  const instance = (n: number, changes: Partial<InstanceState> = {}) =>
    world.instances.set(uuidOf(n), anInstanceState(n, changes))
  const auditor = new Auditor({ database, client: world.client(placement), logger: silent, mendedWithinMs: 300 })
  const audit = (request: { repair?: boolean; hosts?: string[] } = {}) =>
    auditor.audit({ repair: false, settle_seconds: 0, ...request }, info)
  return { world, placement, claim, instance, audit }
}

describe.each(databaseEngines)('the auditor on $name', ({ open }) => {
  const migrations = [...placementMigrations, ...auditMigrations]

  it('says nothing of what is not so any more at its second look', async () => {
    await using test = await open(migrations)
    const { world, placement, claim, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    instance(1, DELETED)
    await claim(2, 'h2')
    instance(2, { host: 'h2' })
    // Between the looks a release arrives, and a guest that had just started is seen.
    world.beforeLook = async (look) => {
      if (look !== 3) return
      world.guests.set('h2', [aGuest(2)])
      await placement.release({ instance_uuid: uuidOf(1), attempt: 1 })
    }

    expect((await audit({ repair: true })).findings).toEqual([])
    expect(world.asked).toEqual([])
  })

  it('says nothing of what changed from one fault into another of its kind', async () => {
    await using test = await open(migrations)
    const { world, claim, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    instance(1, { ...DELETED, attempt: 2 })
    world.beforeLook = async (look) => void (look === 3 && (await claim(1, 'h1', 2)))

    expect((await audit()).findings).toEqual([])
    expect((await audit()).findings).toMatchObject([{ kind: 'leak', outcome: 'found' }])
  })

  it('does not repair what has changed since it was found', async () => {
    await using test = await open(migrations)
    const { world, instance, audit } = await aWorld(test.database)
    instance(1, DELETED)
    world.guests.set('h1', [aGuest(1)])
    world.beforeRepair = () => instance(1, { ...DELETED, updated_at: '2026-03-01T11:00:00.000Z' })

    const report = await audit({ repair: true })

    expect(report.findings).toMatchObject([
      { kind: 'ghost', outcome: 'not repaired', failure: expect.stringContaining('has changed since') },
    ])
    expect(world.asked).toEqual([])
  })

  it('removes a ghost first and then what it had claimed, each by its own contract', async () => {
    await using test = await open(migrations)
    const { world, claim, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1', 2)
    instance(1, { ...DELETED, attempt: 2 })
    world.guests.set('h1', [aGuest(1, { attempt: 2 })])

    const report = await audit({ repair: true })

    expect(world.asked).toEqual(['terminate 1 2 on h1, void', 'release 1 2'])
    expect(report).toMatchObject({ remaining_total: 0, repaired_total: 2, remaining: {} })
    expect(report.findings.map(({ kind, outcome }) => `${kind} ${outcome}`)).toEqual([
      'ghost repaired',
      'leak repaired',
    ])
  })

  it('gives back what is allocated to a consumer that says it is on no host', async () => {
    await using test = await open(migrations)
    const { world, claim, placement, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    await placement.release({ instance_uuid: uuidOf(1), attempt: 1 })
    instance(1, DELETED)
    await test.database.query(
      `insert into allocations (consumer, provider, resource_class, amount) values ($1, 'h1', 'VCPU', 3)`,
      [uuidOf(1)],
    )

    const report = await audit({ repair: true })

    expect(world.asked).toEqual(['release 1 1'])
    expect(report).toMatchObject({ repaired_total: 1, remaining_total: 0 })
    expect(await test.database.query('select from allocations')).toEqual([])
    expect(await test.database.query('select host from consumers')).toEqual([{ host: null }])
  })

  it('says of a repair that did not help that it did not, and asks for it once', async () => {
    await using test = await open(migrations)
    const { world, claim, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    instance(1, DELETED)
    world.guests.set('h1', [aGuest(1)])
    world.terminate = () => {}

    const report = await audit({ repair: true })

    expect(world.asked).toEqual(['terminate 1 1 on h1, void'])
    expect(report).toMatchObject({ remaining: { ghost: 1 }, repaired_total: 0 })
    expect(report.findings[0]).toMatchObject({
      outcome: 'not repaired',
      failure: 'asked for, and not done within 0.3 s',
    })
  })

  it('remembers what it found in the whole cloud, and not what in a part of it', async () => {
    await using test = await open(migrations)
    const { claim, world } = await aWorld(test.database)
    const records: unknown[] = []
    const log = { record: async (report: unknown) => void records.push(report) }
    const client = world.client(new DatabasePlacement(test.database))
    const auditor = new Auditor({ database: test.database, client, log, logger: silent })
    await claim(1, 'h1')

    await auditor.audit({ repair: false, settle_seconds: 0, hosts: ['h1'] }, info)
    const whole = await auditor.audit({ repair: false, settle_seconds: 0 }, info)

    expect(records).toEqual([whole])
    expect(whole.remaining).toEqual({ leak: 1 })
  })

  it('names hosts that do not answer, also those that only an instance or a claim names, and an old worker as that', async () => {
    await using test = await open(migrations)
    const { world, claim, instance, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    world.guests.delete('h1')
    instance(2, { host: 'gone' })

    const report = await audit({ repair: true })
    world.beforeLook = () => Promise.reject(new UnsupportedVersion('Endpoint does not support RPC version 1.1'))

    expect(report.not_judged).toEqual([
      { what: 'h1', reason: 'no compute worker has this name on the bus' },
      { what: 'gone', reason: 'no compute worker has this name on the bus' },
    ])
    expect(report).toMatchObject({ findings: [], compared: { hosts: 1 } })
    expect((await audit()).not_judged[0]).toEqual({ what: 'h1', reason: 'its worker is of an earlier release' })
  })

  it('looks only at tables and kernels while no conductor answers, and says so', async () => {
    await using test = await open(migrations)
    const { world, claim, audit } = await aWorld(test.database)
    await claim(1, 'h1')
    world.hasConductor = false

    expect(await audit({ repair: true })).toMatchObject({
      findings: [],
      not_judged: [{ what: 'instances', reason: 'no conductor answered: nobody serves sevbus-conductor' }],
      not_judged_total: 1,
    })
  })
})
