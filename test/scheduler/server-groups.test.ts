import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { SevbusError } from '../../src/errors.ts'
import type { ServerGroup } from '../../src/objects/server-group.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { operatingEndpoint } from '../../src/scheduler/operating/endpoint.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { silent } from '../support/transports.ts'
import { aRequestSpec } from './builders.ts'

const info = { context: { request_id: 'req-1' }, signal: new AbortController().signal }
const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }

describe.each(databaseEngines)('server groups on $name', ({ open }) => {
  /** Hosts cn-1 to cn-5, and so many schedulers. */
  async function opened(schedulers = 1) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    for (let n = 1; n <= 5; n++) await placement.recordHost(aHostReport(`cn-${n}`))
    const managers: SchedulerManager[] = []
    for (let n = 0; n < schedulers; n++) {
      const own = new DatabasePlacement(await test.connect())
      const manager = new SchedulerManager({
        placement: own,
        filters: defaultFilters(),
        weighers: defaultWeighers(),
        logger: silent,
      })
      await manager.start()
      managers.push(manager)
    }
    const operating = operatingEndpoint({ database: test.database, placement, refresh: async () => {}, logger: silent })
    return {
      database: test.database,
      placement,
      operating,
      async group(policy: ServerGroup['policy'], rules: ServerGroup['rules'] = {}) {
        return (await operating.createServerGroup({ name: 'db', policy, rules }, info)).server_group
      },
      async members(uuid: string) {
        const [group] = (await operating.listServerGroups({ uuids: [uuid] }, info)).server_groups
        return (group as ServerGroup).members.map(({ host }) => host)
      },
      /** Asks for one instance; by turns all schedulers are asked. */
      select(n: number, hints: Partial<ReturnType<typeof hintsOf>>, uuid: string = randomUUID()) {
        const spec = { instance_uuid: uuid, scheduler_hints: hintsOf(hints) }
        const manager = managers[n % schedulers] as SchedulerManager
        return manager.selectDestinations({ request_spec: aRequestSpec({ spec }) }, info)
      },
      async [Symbol.asyncDispose]() {
        for (const manager of managers) await manager.close()
        await test[Symbol.asyncDispose]()
      },
    }
  }

  const hintsOf = (hints: { group?: string | null; same_host?: string[]; different_host?: string[] }) => ({
    group: null,
    same_host: [],
    different_host: [],
    ...hints,
  })
  const oneVcpu = (host: string, attempt = 1) => ({
    host,
    attempt,
    allocations: [{ provider: host, resource_class: 'VCPU', amount: 1 }],
    report: NO_REPORT,
  })
  const refusalOf = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: SevbusError) => error,
    )
  /** Claims for a new member of the group, past all filters. */
  async function claim(placement: DatabasePlacement, group: string, host: string, uuid: string = randomUUID()) {
    await placement.hintedHosts({ instance_uuid: uuid, scheduler_hints: hintsOf({ group }) })
    return placement.claim(uuid, oneVcpu(host))
  }

  it('have as members the instances that asked for them, once these are on a host', async () => {
    await using given = await opened()
    const group = await given.group('anti-affinity', { max_server_per_host: 2 })
    const uuid = randomUUID()

    const { selection } = await given.select(0, { group: group.uuid }, uuid)

    expect((await given.operating.listServerGroups({}, info)).server_groups).toEqual([
      {
        uuid: group.uuid,
        name: 'db',
        policy: 'anti-affinity',
        rules: { max_server_per_host: 2 },
        members: [{ instance_uuid: uuid, host: selection.host }],
      },
    ])
    await given.placement.release({ instance_uuid: uuid, attempt: 1 })
    expect(await given.members(group.uuid)).toEqual([])
  })

  it('are found by uuid and by name, which several may have', async () => {
    await using given = await opened()
    const [first, second] = [await given.group('affinity'), await given.group('soft-affinity')]
    const listed = async (query: { uuids?: string[]; name?: string }) =>
      (await given.operating.listServerGroups(query, info)).server_groups.map(({ uuid }) => uuid)

    expect(await listed({ name: 'db' })).toEqual([first.uuid, second.uuid].toSorted())
    expect(await listed({ uuids: [second.uuid] })).toEqual([second.uuid])
    expect(await listed({ name: 'web' })).toEqual([])
  })

  it('that are not there end a request, by name', async () => {
    await using given = await opened()
    const uuid = randomUUID()

    expect(await refusalOf(given.select(0, { group: uuid }))).toMatchObject({
      code: 'INSTANCE_GROUP_NOT_FOUND',
      message: `no server group has the uuid ${uuid}`,
    })
    expect(await refusalOf(given.operating.deleteServerGroup({ uuid }, info))).toMatchObject({
      code: 'INSTANCE_GROUP_NOT_FOUND',
    })
  })

  it('of anti-affinity are refused a second claim on a host by the database itself', async () => {
    await using given = await opened()
    const { uuid } = await given.group('anti-affinity')
    await claim(given.placement, uuid, 'cn-1')

    const second = await refusalOf(claim(given.placement, uuid, 'cn-1'))

    expect(second).toMatchObject({
      code: 'CLAIM_REFUSED',
      message: '1 of group db on cn-1 (anti-affinity), at most 1 on one host',
      details: { host: 'cn-1', server_group: uuid, policy: 'anti-affinity', used: 1, capacity: 1 },
    })
    await claim(given.placement, uuid, 'cn-2')
    expect(await given.members(uuid)).toEqual(['cn-1', 'cn-2'])
  })

  it('hold for claims that go together, all of them or each by itself', async () => {
    await using given = await opened()
    const { uuid } = await given.group('anti-affinity')
    const claims = ['cn-1', 'cn-1', 'cn-2'].map((host) => ({ instance_uuid: randomUUID(), selection: oneVcpu(host) }))
    for (const { instance_uuid } of claims) {
      await given.placement.hintedHosts({ instance_uuid, scheduler_hints: hintsOf({ group: uuid }) })
    }

    const none = await given.placement.claimAll(claims)
    const each = await Promise.allSettled(claims.map((one) => given.placement.grant(one)))

    expect(none.map((outcome) => ('code' in outcome ? outcome.code : 'made'))).toEqual(
      claims.map(() => 'CLAIM_REFUSED'),
    )
    expect(each.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(await given.members(uuid)).toEqual(['cn-1', 'cn-2'])
  })

  it('of anti-affinity have as many on a host as their rule says', async () => {
    await using given = await opened()
    const { uuid } = await given.group('anti-affinity', { max_server_per_host: 2 })

    await claim(given.placement, uuid, 'cn-1')
    await claim(given.placement, uuid, 'cn-1')

    expect(await refusalOf(claim(given.placement, uuid, 'cn-1'))).toMatchObject({ code: 'CLAIM_REFUSED' })
  })

  it('let an instance go back to where it was in the same try, though another has come there', async () => {
    await using given = await opened()
    const { uuid } = await given.group('anti-affinity')
    const [moved, comer] = [randomUUID(), randomUUID()]
    await claim(given.placement, uuid, 'cn-1', moved)
    await given.placement.claim(moved, oneVcpu('cn-2', 2))
    await claim(given.placement, uuid, 'cn-1', comer)

    await given.database.query(`update consumers set host = 'cn-1' where uuid = $1`, [moved])

    expect(await given.members(uuid)).toEqual(['cn-1', 'cn-1'])
    expect(await refusalOf(given.placement.claim(comer, oneVcpu('cn-1', 2)))).toMatchObject({ code: 'CLAIM_REFUSED' })
  })

  it('of affinity are refused a claim on another host, and a lone member may go elsewhere', async () => {
    await using given = await opened()
    const { uuid } = await given.group('affinity')
    const member = randomUUID()
    await claim(given.placement, uuid, 'cn-1', member)

    expect(await refusalOf(claim(given.placement, uuid, 'cn-2'))).toMatchObject({
      code: 'CLAIM_REFUSED',
      message: 'group db is on cn-1 (affinity), not on cn-2',
      details: { server_group: uuid, policy: 'affinity', group_host: 'cn-1' },
    })
    await given.placement.claim(member, oneVcpu('cn-2', 2))
    expect(await given.members(uuid)).toEqual(['cn-2'])
  })

  it.each(['soft-affinity', 'soft-anti-affinity'] as const)('of %s are never refused anything', async (policy) => {
    await using given = await opened()
    const { uuid } = await given.group(policy)

    for (const host of ['cn-1', 'cn-1', 'cn-2']) await claim(given.placement, uuid, host)

    expect(await given.members(uuid)).toEqual(['cn-1', 'cn-1', 'cn-2'])
  })

  it('hold nobody to anything once they are deleted', async () => {
    await using given = await opened()
    const { uuid } = await given.group('anti-affinity')
    const member = randomUUID()
    await claim(given.placement, uuid, 'cn-1')
    await claim(given.placement, uuid, 'cn-2', member)

    await given.operating.deleteServerGroup({ uuid }, info)

    await given.placement.claim(member, oneVcpu('cn-1', 2))
    expect((await given.placement.hostStates(['cn-1']))[0]?.instances).toBe(2)
  })

  it('of anti-affinity spread twelve requests at once over five hosts, one each, and tell the others why', async () => {
    await using given = await opened(3)
    const { uuid } = await given.group('anti-affinity')

    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, (_, n) => given.select(n, { group: uuid })))

    expect(await given.members(uuid)).toEqual(['cn-1', 'cn-2', 'cn-3', 'cn-4', 'cn-5'])
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? outcome.reason : []))
    expect(refused).toHaveLength(7)
    for (const error of refused) {
      expect(error).toMatchObject({
        code: 'NO_VALID_HOST',
        details: { report: { rejected: [{ filter: 'ServerGroupAntiAffinityFilter', hosts: 5 }] } },
      })
    }
  })

  it('of affinity put twelve requests at once on one host', async () => {
    await using given = await opened(3)
    const { uuid } = await given.group('affinity')

    await Promise.all(Array.from({ length: 12 }, (_, n) => given.select(n, { group: uuid })))

    const hosts = await given.members(uuid)
    expect(hosts).toHaveLength(12)
    expect(new Set(hosts).size).toBe(1)
  })

  it('of soft policies speak up when hosts are weighed', async () => {
    await using given = await opened()
    const { uuid } = await given.group('soft-anti-affinity')
    await claim(given.placement, uuid, 'cn-3')

    const { selection } = await given.select(0, { group: uuid })

    const opinions = selection.report.ranking.map(({ host, weights }) => [host, weights.ServerGroupSoftAntiAffinity])
    expect(Object.fromEntries(opinions)).toEqual({ 'cn-1': 0, 'cn-2': 0, 'cn-3': -1, 'cn-4': 0, 'cn-5': 0 })
    expect(selection.host).not.toBe('cn-3')
  })

  it('are one kind of hint; same_host and different_host find the hosts of instances', async () => {
    await using given = await opened()
    const uuid = randomUUID()
    const { selection } = await given.select(0, {}, uuid)

    const beside = await given.select(0, { same_host: [uuid] })
    const apart = await given.select(0, { different_host: [uuid] })

    expect(beside.selection.host).toBe(selection.host)
    expect(apart.selection.host).not.toBe(selection.host)
    await given.placement.release({ instance_uuid: uuid, attempt: 1 })
    expect(await refusalOf(given.select(0, { same_host: [uuid] }))).toMatchObject({
      code: 'NO_VALID_HOST',
      details: { report: { rejected: [{ filter: 'SameHostFilter', hosts: 5 }] } },
    })
  })
})
