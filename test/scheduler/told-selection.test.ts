import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { outboxMigrations } from '../../src/database/outbox-schema.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { createServerGroup } from '../../src/scheduler/operating/server-groups.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { silent } from '../support/transports.ts'
import { aRequestSpec } from './builders.ts'
import { tellingTo, toldIn } from './telling.ts'

const payloadNames = {
  'nova_object.name': 'ServerGroupPayload',
  'nova_object.namespace': 'nova',
  'nova_object.version': '1.1',
}
const info = { context: { request_id: 'req-1' }, signal: new AbortController().signal }

describe.each(databaseEngines)('what is told of requests for hosts, on $name', ({ open }) => {
  /** Two slots on one host, and schedulers that tell. */
  async function given(schedulers = 1) {
    const test = await open([...outboxMigrations, ...placementMigrations])
    const { database } = test
    const placement = new DatabasePlacement(database)
    await placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 2 } }))
    const managers: SchedulerManager[] = []
    for (let n = 0; n < schedulers; n++) {
      const own = await test.connect()
      const telling = tellingTo(own)
      const deps = { filters: defaultFilters(), weighers: defaultWeighers(), logger: silent, telling }
      const manager = new SchedulerManager({ ...deps, placement: new DatabasePlacement(own, { telling }) })
      await manager.start()
      managers.push(manager)
    }
    const specOf = (instance_uuid: string, more: object = {}) =>
      aRequestSpec({ model: 'amd-sev', spec: { instance_uuid, ...more } })
    return {
      placement,
      select: (uuid: string, more: object = {}, manager = managers[0] as SchedulerManager) =>
        manager.selectDestinations({ request_spec: specOf(uuid, more) }, info).then(
          () => 'claimed',
          ({ code }) => String(code),
        ),
      selectBatch: (uuids: string[]) =>
        (managers[0] as SchedulerManager)
          .selectDestinationsOfBatch({ request_spec: specOf(uuids[0] as string), instance_uuids: uuids }, info)
          .then(
            () => 'claimed',
            ({ code }) => String(code),
          ),
      makeGroup: (rules = {}) => createServerGroup(database, { name: 'db', policy: 'anti-affinity', rules }),
      managers,
      told: async () =>
        (await toldIn(database)).map(({ event, data }) => [event.split('.').at(-1), data.instance_uuid]),
      all: () => toldIn(database),
      async [Symbol.asyncDispose]() {
        for (const manager of managers) await manager.close()
        await test[Symbol.asyncDispose]()
      },
    }
  }

  it('is that a host is sought, and that it is found, with the request', async () => {
    await using its = await given()
    const uuid = randomUUID()

    expect(await its.select(uuid)).toBe('claimed')

    const told = await its.all()
    expect(told.map(({ event, to, publisher }) => [event, to, publisher])).toEqual([
      ['scheduler.select_destinations.start', 'versioned_notifications.info', 'nova-scheduler:scheduler-1'],
      ['scheduler.select_destinations.end', 'versioned_notifications.info', 'nova-scheduler:scheduler-1'],
    ])
    expect(told[0]?.data).toEqual(told[1]?.data)
    expect(told[1]?.data).toMatchObject({ instance_uuid: uuid, num_instances: 1, force_hosts: null })
  })

  it('is told once of a try, however often it is asked for, and not of one that is void', async () => {
    await using its = await given()
    const uuid = randomUUID()

    await its.select(uuid)
    await its.select(uuid)
    await its.placement.release({ instance_uuid: uuid, attempt: 1 })

    expect(await its.select(uuid)).toBe('STALE_ATTEMPT')
    expect(await its.told()).toEqual([
      ['start', uuid],
      ['end', uuid],
    ])
  })

  it('has the group that the request names, with its members and their hosts', async () => {
    await using its = await given()
    const [first, second] = [randomUUID(), randomUUID()].toSorted() as [string, string]
    const { uuid: group } = await its.makeGroup({ max_server_per_host: 2 })
    const inGroup = { scheduler_hints: { group, same_host: [], different_host: [] } }

    expect(await its.select(first, inGroup)).toBe('claimed')
    expect(await its.select(second, { ...inGroup, ignore_hosts: ['cn-1'] })).toBe('NO_VALID_HOST')

    const told = (await its.all()).filter(({ event }) => event.startsWith('scheduler.'))
    const known = {
      ...{ uuid: group, name: 'db', policies: ['anti-affinity'], policy: 'anti-affinity' },
      ...{ rules: { max_server_per_host: '2' }, user_id: null, project_id: null },
    }
    const alone = { ...payloadNames, 'nova_object.data': { ...known, members: [first], hosts: [] } }
    const both = { ...payloadNames, 'nova_object.data': { ...known, members: [first, second], hosts: ['cn-1'] } }
    expect(told.map(({ data }) => data.instance_group)).toEqual([alone, alone, both])
  })

  it('has no group where the one that the request names is gone', async () => {
    await using its = await given()
    const scheduler_hints = { group: randomUUID(), same_host: [], different_host: [] }

    expect(await its.select(randomUUID(), { scheduler_hints })).toBe('INSTANCE_GROUP_NOT_FOUND')

    expect((await its.all()).map(({ data }) => data.instance_group)).toEqual([null])
  })

  it('has no end where no host is found', async () => {
    await using its = await given()
    const uuid = randomUUID()

    expect(await its.select(uuid, { ignore_hosts: ['cn-1'] })).toBe('NO_VALID_HOST')
    expect(await its.told()).toEqual([['start', uuid]])
  })

  it('is told of each of a batch, or that each was asked for', async () => {
    await using its = await given()
    const [fitting, tooMany] = [
      [randomUUID(), randomUUID()],
      [randomUUID(), randomUUID(), randomUUID()],
    ]

    expect(await its.selectBatch(tooMany)).toBe('NO_VALID_HOST')
    expect(await its.selectBatch(fitting)).toBe('claimed')
    expect(await its.told()).toEqual([
      ...tooMany.map((uuid) => ['start', uuid]),
      ...fitting.flatMap((uuid) => [
        ['start', uuid],
        ['end', uuid],
      ]),
    ])
  })

  it('agrees with the claims when schedulers race for the last places', async () => {
    await using its = await given(3)
    const uuids = Array.from({ length: 9 }, () => randomUUID())

    const outcomes = await Promise.all(uuids.map((uuid, n) => its.select(uuid, {}, its.managers[n % 3])))

    const told = await its.told()
    const ended = told.filter(([phase]) => phase === 'end').map(([, uuid]) => uuid)
    const started = told.filter(([phase]) => phase === 'start').map(([, uuid]) => uuid)
    expect(ended.toSorted()).toEqual(uuids.filter((_, n) => outcomes[n] === 'claimed').toSorted())
    expect(ended).toHaveLength(2)
    expect(started.toSorted()).toEqual(uuids.toSorted())
  })
})
