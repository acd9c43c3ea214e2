import { describe, expect, it } from 'vitest'
import { outboxMigrations } from '../../../src/database/outbox-schema.ts'
import { NO_HINTS } from '../../../src/objects/scheduler-hints.ts'
import { buildOutcomesEndpoint } from '../../../src/scheduler/build-outcomes.ts'
import { operatingEndpoint } from '../../../src/scheduler/operating/endpoint.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { silent } from '../../support/transports.ts'
import { tellingTo, toldIn } from '../telling.ts'

const context = { request_id: 'req-1', user_id: 'operator', project_id: 'admin' }
const info = { context, signal: new AbortController().signal }
const INSTANCE = '178b0921-8f85-4257-88b6-2e743b5a975c'

describe.each(databaseEngines)('what is told of hosts and operators, on $name', ({ open }) => {
  /** A scheduler that tells, host cn-1, and what was told since the last look. */
  async function telling() {
    const test = await open([...outboxMigrations, ...placementMigrations])
    const { database } = test
    const telling = tellingTo(database)
    const placement = new DatabasePlacement(database, { telling })
    await placement.recordHost(aHostReport('cn-1'), context)
    return {
      placement,
      endpoint: operatingEndpoint({ database, placement, refresh: async () => {}, logger: silent, telling }),
      builds: buildOutcomesEndpoint({ database, disableAfter: 2, logger: silent, telling }),
      async consumer(uuid: string) {
        await database.query('insert into consumers (uuid, attempt) values ($1, 1)', [uuid])
      },
      told: () => toldIn(database),
      [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
    }
  }

  it('is each host once, when it reports for the first time', async () => {
    await using it = await telling()
    await it.placement.recordHost(aHostReport('cn-1', { memoryMb: 65_536 }), context)

    expect(await it.told()).toEqual([
      {
        event: 'service.create',
        to: 'versioned_notifications.info',
        publisher: 'nova-compute:cn-1',
        data: {
          ...{ host: 'cn-1', binary: 'nova-compute', topic: 'compute', version: 1, report_count: 0 },
          ...{ disabled: false, disabled_reason: null, forced_down: false, availability_zone: null },
          last_seen_up: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
          uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
        },
      },
    ])
  })

  it('is what an operator does to a host, and nothing where that changes nothing', async () => {
    await using it = await telling()
    await it.told()

    await it.endpoint.setHost({ host: 'cn-1', disabled: true, disabled_reason: 'new memory' }, info)
    await it.endpoint.setHost({ host: 'cn-1', disabled: true, disabled_reason: 'new memory' }, info)
    await it.endpoint.setHost({ host: 'cn-1', fenced: true }, info)
    await it.endpoint.setHost({ host: 'cn-1', disabled: false }, info)
    await it.endpoint.setHost({ host: 'cn-9', disabled: true }, info).catch(() => {})

    const told = (await it.told()).map(({ event, data }) => [
      event,
      data.disabled,
      data.disabled_reason,
      data.forced_down,
    ])
    expect(told).toEqual([
      ['service.update', true, 'new memory', false],
      ['service.update', true, 'new memory', true],
      ['service.update', false, null, true],
    ])
  })

  it('is a host that goes out of service because its builds fail, and that comes back by one that succeeds', async () => {
    await using it = await telling()
    await it.consumer(INSTANCE)
    await it.told()
    const build = (attempt: number, failure: string | null) =>
      it.builds.noteBuild({ instance_uuid: INSTANCE, attempt, host: 'cn-1', failure }, info)

    for (const attempt of [1, 2, 2]) await build(attempt, 'QEMU died')
    for (const attempt of [3, 3]) await build(attempt, null)

    expect((await it.told()).map(({ event, data }) => [event, data.disabled, data.disabled_reason])).toEqual([
      ['service.update', true, '2 builds in a row failed here, the last one: QEMU died'],
      ['service.update', false, null],
    ])
  })

  it('is once that a host comes back by many builds that succeeded there, told in one message and twice', async () => {
    await using it = await telling()
    const other = '22222222-2222-4222-8222-222222222222'
    for (const uuid of [INSTANCE, other]) await it.consumer(uuid)
    for (const attempt of [1, 2]) {
      await it.builds.noteBuild({ instance_uuid: INSTANCE, attempt, host: 'cn-1', failure: 'QEMU died' }, info)
    }
    await it.told()
    const builds = [INSTANCE, other].map((instance_uuid) => ({ instance_uuid, attempt: 3, host: 'cn-1' }))

    await it.builds.noteBuilds({ builds })
    await it.builds.noteBuilds({ builds })

    expect((await it.told()).map(({ event, data }) => [event, data.disabled])).toEqual([['service.update', false]])
  })

  it('is each change of an aggregate, from what to what', async () => {
    await using it = await telling()
    const { endpoint } = it
    await it.placement.recordHost(aHostReport('cn-2'), context)
    await it.told()

    await endpoint.createAggregate({ name: 'gold', metadata: { ssd: 'true' }, hosts: ['cn-2', 'cn-1'] }, info)
    await endpoint.addHostToAggregate({ name: 'gold', host: 'cn-1' }, info)
    await endpoint.setAggregate({ name: 'gold', metadata: { ssd: null, rack: '7' } }, info)
    await endpoint.deleteAggregate({ name: 'gold' }, info).catch(() => {})
    for (const host of ['cn-1', 'cn-2']) await endpoint.removeHostFromAggregate({ name: 'gold', host }, info)
    await endpoint.deleteAggregate({ name: 'gold' }, info)

    const told = await it.told()
    expect(new Set(told.map(({ publisher, data }) => `${publisher} ${data.name} ${data.uuid}`)).size).toBe(1)
    expect(told[0]).toMatchObject({ publisher: 'nova-api:scheduler-1', to: 'versioned_notifications.info' })
    expect(told.map(({ event, data }) => [event, data.id, data.hosts, data.metadata])).toEqual([
      ['aggregate.create.start', undefined, undefined, { ssd: 'true' }],
      ['aggregate.create.end', 1, [], { ssd: 'true' }],
      ['aggregate.add_host.start', 1, [], { ssd: 'true' }],
      ['aggregate.add_host.end', 1, ['cn-1'], { ssd: 'true' }],
      ['aggregate.add_host.start', 1, ['cn-1'], { ssd: 'true' }],
      ['aggregate.add_host.end', 1, ['cn-1', 'cn-2'], { ssd: 'true' }],
      ['aggregate.update_metadata.start', 1, ['cn-1', 'cn-2'], { ssd: 'true' }],
      ['aggregate.update_metadata.end', 1, ['cn-1', 'cn-2'], { rack: '7' }],
      ['aggregate.remove_host.start', 1, ['cn-1', 'cn-2'], { rack: '7' }],
      ['aggregate.remove_host.end', 1, ['cn-2'], { rack: '7' }],
      ['aggregate.remove_host.start', 1, ['cn-2'], { rack: '7' }],
      ['aggregate.remove_host.end', 1, [], { rack: '7' }],
      ['aggregate.delete.start', 1, [], { rack: '7' }],
      ['aggregate.delete.end', 1, [], { rack: '7' }],
    ])
  })

  it('is each server group, and each member once', async () => {
    await using it = await telling()
    await it.told()
    const asked = { name: 'db', policy: 'anti-affinity', rules: { max_server_per_host: 2 } } as const

    const { server_group } = await it.endpoint.createServerGroup(asked, info)
    const hinted = { instance_uuid: INSTANCE, scheduler_hints: { ...NO_HINTS, group: server_group.uuid } }
    for (const _ of [1, 2]) await it.placement.hintedHosts(hinted, { request_id: 'req-2', user_id: 'guest' })
    await it.endpoint.deleteServerGroup({ uuid: server_group.uuid }, info)

    const all = {
      ...{ uuid: server_group.uuid, name: 'db', user_id: 'operator', project_id: 'admin', hosts: null },
      ...{ policies: ['anti-affinity'], policy: 'anti-affinity', rules: { max_server_per_host: '2' } },
    }
    expect((await it.told()).map(({ event, data }) => [event, data])).toEqual([
      ['server_group.create', { ...all, members: [] }],
      ['server_group.add_member', { ...all, members: [INSTANCE] }],
      ['server_group.delete', { ...all, members: [INSTANCE] }],
    ])
  })
})
