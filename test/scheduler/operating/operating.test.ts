import { describe, expect, it } from 'vitest'
import type { SevbusError } from '../../../src/errors.ts'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { operatingEndpoint } from '../../../src/scheduler/operating/endpoint.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'
import { silent } from '../../support/transports.ts'

const info = { context: { request_id: 'req-1' }, signal: new AbortController().signal }

describe.each(databaseEngines)('what operators decide, on $name', ({ open }) => {
  /** Hosts cn-1 to cn-3, and whoever follows what changes about them. */
  async function operated() {
    const test = await open(placementMigrations)
    const { database } = test
    const placement = new DatabasePlacement(database)
    for (const host of ['cn-1', 'cn-2', 'cn-3']) await placement.recordHost(aHostReport(host))
    const known = new Map<string, HostState>()
    let cursor: string | undefined
    const follow = async () => {
      const changes = await placement.changesSince(cursor)
      cursor = changes.cursor
      for (const host of changes.hosts) known.set(host.host, host)
    }
    await follow()
    let refreshed = 0
    const refresh = async () => {
      refreshed++
    }
    return {
      database,
      placement,
      endpoint: operatingEndpoint({ database, placement, refresh, logger: silent }),
      /** How often the scheduler was told to look before the answer. */
      refreshes: () => refreshed,
      /** As a scheduler knows the host that was here all the time. */
      async known(host: string) {
        await follow()
        return known.get(host) as HostState
      },
      [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
    }
  }

  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      ({ code, message }: SevbusError) => `${code}: ${message}`,
    )

  it('is told of a host: disabled with a reason, and enabled again', async () => {
    await using given = await operated()
    const { endpoint } = given

    const disabled = await endpoint.setHost({ host: 'cn-1', disabled: true, disabled_reason: 'new memory' }, info)

    expect(disabled.host).toMatchObject({ host: 'cn-1', state: 'up', disabled: true, disabled_reason: 'new memory' })
    expect(await given.known('cn-1')).toMatchObject({ disabled: true, disabledReason: 'new memory' })
    expect(await given.database.query(`select host, disabled_by from compute_hosts where disabled`)).toEqual([
      { host: 'cn-1', disabled_by: 'operator' },
    ])
    await endpoint.setHost({ host: 'cn-1', disabled: false }, info)
    expect(await given.known('cn-1')).toMatchObject({ disabled: false, disabledReason: undefined })
    expect(await given.database.query(`select from compute_hosts where disabled_by is not null`)).toEqual([])
  })

  it('leaves what is not named as it is', async () => {
    await using given = await operated()
    const { endpoint } = given
    await endpoint.setHost({ host: 'cn-1', disabled: true, disabled_reason: 'new memory' }, info)

    const forced = await endpoint.setHost({ host: 'cn-1', forced_down: true }, info)
    const enabled = await endpoint.setHost({ host: 'cn-1', disabled: false }, info)

    expect(forced.host).toMatchObject({
      state: 'down',
      forced_down: true,
      disabled: true,
      disabled_reason: 'new memory',
    })
    expect(enabled.host).toMatchObject({ state: 'down', forced_down: true, disabled: false, disabled_reason: null })
  })

  it('holds a host for down while it is forced, whatever it reports', async () => {
    await using given = await operated()
    await given.endpoint.setHost({ host: 'cn-1', forced_down: true }, info)

    await given.placement.recordHost(aHostReport('cn-1'))

    expect(await given.known('cn-1')).toMatchObject({ up: false, forcedDown: true })
    const { host } = await given.endpoint.setHost({ host: 'cn-1', forced_down: false }, info)
    expect(host).toMatchObject({ state: 'up', forced_down: false })
    expect(await given.known('cn-1')).toMatchObject({ up: true, forcedDown: false })
  })

  it('holds a fenced host for down until it is said to be back, and a host that is not down is not fenced', async () => {
    await using given = await operated()
    const seen = async (settings: object) => {
      const { host } = await given.endpoint.setHost({ host: 'cn-1', ...settings }, info)
      const { up, fenced, forcedDown } = await given.known('cn-1')
      expect({ fenced, forcedDown, state: up ? 'up' : 'down' }).toEqual({
        fenced: host.fenced,
        forcedDown: host.forced_down,
        state: host.state,
      })
      return `${host.state}${host.forced_down ? ', forced' : ''}${host.fenced ? ', fenced' : ''}`
    }

    expect(await seen({ fenced: true })).toBe('down, forced, fenced')
    expect(await seen({ disabled: false })).toBe('down, forced, fenced')
    expect(await seen({ fenced: false })).toBe('down, forced')
    expect(await seen({ fenced: true })).toBe('down, forced, fenced')
    expect(await seen({ forced_down: false })).toBe('up')
  })

  it('takes over a host that failed builds disabled, and begins to count anew when it is enabled', async () => {
    await using given = await operated()
    await given.database.query(
      `update compute_hosts set disabled = true, disabled_by = 'build failures', disabled_reason = '10 in a row',
         failed_builds = 10 where host = 'cn-1'`,
    )

    await given.endpoint.setHost({ host: 'cn-1', disabled: true }, info)
    const taken = await given.database.query(
      `select disabled_by, disabled_reason, failed_builds from compute_hosts where host = 'cn-1'`,
    )
    const { host } = await given.endpoint.setHost({ host: 'cn-1', disabled: false }, info)

    expect(taken).toEqual([{ disabled_by: 'operator', disabled_reason: null, failed_builds: 10 }])
    expect(host).toMatchObject({ disabled: false, failed_builds: 0 })
  })

  it('names a host that never reported', async () => {
    await using given = await operated()
    const { endpoint } = given

    expect(await codeOf(endpoint.setHost({ host: 'cn-9', disabled: true }, info))).toBe(
      'COMPUTE_HOST_NOT_FOUND: no host cn-9 has reported',
    )
    const unknown = endpoint.createAggregate({ name: 'room-1', metadata: {}, hosts: ['cn-1', 'cn-9'] }, info)
    expect(await codeOf(unknown)).toBe('COMPUTE_HOST_NOT_FOUND: no host cn-9 has reported')
    expect((await endpoint.listAggregates({}, info)).aggregates).toEqual([])
  })

  it('makes a zone of hosts, which every scheduler sees', async () => {
    await using given = await operated()
    const metadata = { availability_zone: 'room-1' }

    await given.endpoint.createAggregate({ name: 'room-1', metadata, hosts: ['cn-2', 'cn-1'] }, info)

    expect((await given.endpoint.listAggregates({}, info)).aggregates).toEqual([
      { name: 'room-1', metadata, hosts: ['cn-1', 'cn-2'] },
    ])
    const aggregates = [{ name: 'room-1', metadata }]
    expect(await given.known('cn-1')).toMatchObject({ availabilityZone: 'room-1', aggregates })
    expect(await given.known('cn-3')).toMatchObject({ availabilityZone: 'nova', aggregates: [] })
  })

  it('puts hosts in and takes them out, and each of it twice is nothing', async () => {
    await using given = await operated()
    const { endpoint } = given
    const room = { name: 'room-1', metadata: { availability_zone: 'room-1' } }
    await endpoint.createAggregate({ ...room, hosts: [] }, info)

    await endpoint.addHostToAggregate({ name: 'room-1', host: 'cn-1' }, info)
    const twice = await endpoint.addHostToAggregate({ name: 'room-1', host: 'cn-1' }, info)
    const inside = await given.known('cn-1')
    await endpoint.removeHostFromAggregate({ name: 'room-1', host: 'cn-1' }, info)
    const empty = await endpoint.removeHostFromAggregate({ name: 'room-1', host: 'cn-1' }, info)

    expect(twice.aggregate).toEqual({ ...room, hosts: ['cn-1'] })
    expect(inside.availabilityZone).toBe('room-1')
    expect(empty.aggregate).toEqual({ ...room, hosts: [] })
    expect((await given.known('cn-1')).availabilityZone).toBe('nova')
  })

  it('changes the metadata that is named, takes away what is null, and every host there is told', async () => {
    await using given = await operated()
    const { endpoint } = given
    await endpoint.createAggregate({ name: 'gold', metadata: { ssd: 'true', rack: '7' }, hosts: ['cn-1'] }, info)

    const { aggregate } = await endpoint.setAggregate(
      { name: 'gold', metadata: { rack: null, filter_tenant_id: 'blue' } },
      info,
    )

    expect(aggregate.metadata).toEqual({ ssd: 'true', filter_tenant_id: 'blue' })
    expect((await given.known('cn-1')).aggregates).toEqual([{ name: 'gold', metadata: aggregate.metadata }])
  })

  it('refuses to put a host into two zones, by whatever way', async () => {
    await using given = await operated()
    const { endpoint } = given
    await endpoint.createAggregate({ name: 'a', metadata: { availability_zone: 'room-1' }, hosts: ['cn-1'] }, info)
    await endpoint.createAggregate({ name: 'b', metadata: { availability_zone: 'room-2' }, hosts: ['cn-2'] }, info)
    await endpoint.createAggregate({ name: 'c', metadata: {}, hosts: ['cn-1'] }, info)
    const why = 'INVALID_AGGREGATE_ACTION: host cn-1 would be in two zones: '

    expect(await codeOf(endpoint.addHostToAggregate({ name: 'b', host: 'cn-1' }, info))).toBe(
      `${why}room-2 by aggregate b, room-1 by aggregate a`,
    )
    const zone = { availability_zone: 'room-3' }
    expect(await codeOf(endpoint.setAggregate({ name: 'c', metadata: zone }, info))).toBe(
      `${why}room-3 by aggregate c, room-1 by aggregate a`,
    )
    expect(await codeOf(endpoint.createAggregate({ name: 'd', metadata: zone, hosts: ['cn-1'] }, info))).toBe(
      `${why}room-3 by aggregate d, room-1 by aggregate a`,
    )
    const { aggregates } = await endpoint.listAggregates({}, info)
    expect(aggregates.map(({ name, hosts }) => [name, hosts])).toEqual([
      ['a', ['cn-1']],
      ['b', ['cn-2']],
      ['c', ['cn-1']],
    ])
  })

  it('takes two aggregates that say the same zone', async () => {
    await using given = await operated()
    const metadata = { availability_zone: 'room-1' }
    await given.endpoint.createAggregate({ name: 'a', metadata, hosts: ['cn-1'] }, info)

    await given.endpoint.createAggregate({ name: 'b', metadata, hosts: ['cn-1'] }, info)

    expect((await given.known('cn-1')).availabilityZone).toBe('room-1')
  })

  it('lets only one of many zones have a host that all ask for at once', async () => {
    await using given = await operated()
    const { endpoint } = given
    const names = Array.from({ length: 8 }, (_, n) => `room-${n}`)
    for (const name of names) {
      await endpoint.createAggregate({ name, metadata: { availability_zone: name }, hosts: [] }, info)
    }

    const asked = await Promise.all(
      names.map((name) => codeOf(endpoint.addHostToAggregate({ name, host: 'cn-1' }, info))),
    )

    expect(asked.filter((outcome) => outcome === 'done')).toHaveLength(1)
    const { aggregates } = await endpoint.listAggregates({}, info)
    expect(aggregates.flatMap(({ hosts }) => hosts)).toEqual(['cn-1'])
  })

  it('makes no second aggregate of a name, and removes none that has hosts', async () => {
    await using given = await operated()
    const { endpoint } = given
    await endpoint.createAggregate({ name: 'gold', metadata: {}, hosts: ['cn-1'] }, info)

    expect(await codeOf(endpoint.createAggregate({ name: 'gold', metadata: {}, hosts: [] }, info))).toBe(
      'AGGREGATE_NAME_EXISTS: an aggregate is called gold already',
    )
    expect(await codeOf(endpoint.deleteAggregate({ name: 'gold' }, info))).toBe(
      'INVALID_AGGREGATE_ACTION: aggregate gold has hosts still: cn-1',
    )
    await endpoint.removeHostFromAggregate({ name: 'gold', host: 'cn-1' }, info)
    await endpoint.deleteAggregate({ name: 'gold' }, info)
    const gone = await Promise.all(
      [
        endpoint.setAggregate({ name: 'gold', metadata: {} }, info),
        endpoint.addHostToAggregate({ name: 'gold', host: 'cn-1' }, info),
        endpoint.removeHostFromAggregate({ name: 'gold', host: 'cn-1' }, info),
        endpoint.deleteAggregate({ name: 'gold' }, info),
      ].map(codeOf),
    )
    expect(new Set(gone)).toEqual(new Set(['AGGREGATE_NOT_FOUND: no aggregate is called gold']))
  })

  it('is seen by the scheduler that was told before it answers', async () => {
    await using given = await operated()
    const { endpoint, refreshes } = given

    await endpoint.setHost({ host: 'cn-1', disabled: true }, info)
    await endpoint.createAggregate({ name: 'gold', metadata: {}, hosts: [] }, info)
    await endpoint.setAggregate({ name: 'gold', metadata: { ssd: 'true' } }, info)
    await endpoint.addHostToAggregate({ name: 'gold', host: 'cn-1' }, info)
    await endpoint.removeHostFromAggregate({ name: 'gold', host: 'cn-1' }, info)

    expect(refreshes()).toBe(5)
  })

  it('bounds how much an aggregate says', async () => {
    await using given = await operated()
    const keys = (from: number, to: number) =>
      Object.fromEntries(Array.from({ length: to - from }, (_, n) => [`key-${from + n}`, 'x']))
    await given.endpoint.createAggregate({ name: 'gold', metadata: keys(0, 128), hosts: [] }, info)

    const more = await codeOf(given.endpoint.setAggregate({ name: 'gold', metadata: keys(128, 129) }, info))
    const instead = { ...keys(128, 129), 'key-0': null }

    expect(more).toBe('INVALID_AGGREGATE_ACTION: aggregate gold would have 129 keys, at most 128 are taken')
    expect(await codeOf(given.endpoint.setAggregate({ name: 'gold', metadata: instead }, info))).toBe('done')
  })
})
