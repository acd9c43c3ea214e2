import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { NoValidHost } from '../../src/errors.ts'
import { RequestSpec } from '../../src/objects/request-spec.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import type { HostFilter } from '../../src/scheduler/filters/host-filter.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { operatingEndpoint } from '../../src/scheduler/operating/endpoint.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { SchedulerApi } from '../../src/scheduler/rpc-api.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { aRequestSpec } from './builders.ts'

const info = { context: newRequestContext(), signal: new AbortController().signal }
const logger = pino({ level: 'silent' })

async function given(engine: DatabaseEngine, slots: Readonly<Record<string, number>>, schedulers = 1) {
  const test = await engine.open(placementMigrations)
  const placement = new DatabasePlacement(test.database)
  for (const [host, count] of Object.entries(slots)) {
    await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': count } }))
  }
  const managers = await Promise.all(
    Array.from({ length: schedulers }, async () => {
      const own = new DatabasePlacement(await test.connect())
      const options = { refreshIntervalMs: 60_000 }
      const deps = { placement: own, filters: defaultFilters(), weighers: defaultWeighers(), options, logger }
      const manager = new SchedulerManager(deps)
      await manager.start()
      return manager
    }),
  )
  const select = async (count: number, { more = {}, manager = managers[0] as SchedulerManager } = {}) => {
    const uuids = Array.from({ length: count }, () => randomUUID())
    const request_spec = aRequestSpec({ model: 'amd-sev', spec: { instance_uuid: uuids[0] as string, ...more } })
    const ask = () => manager.selectDestinationsOfBatch({ request_spec, instance_uuids: uuids }, info)
    return { uuids, ask }
  }
  const used = async () => {
    const rows = await test.database.query<{ host: string; n: number }>(
      'select host, count(*)::integer as n from consumers where host is not null group by host order by host',
    )
    return Object.fromEntries(rows.map(({ host, n }) => [host, n]))
  }
  return {
    test,
    placement,
    managers,
    select,
    used,
    async [Symbol.asyncDispose]() {
      await Promise.all(managers.map((manager) => manager.close()))
      await test[Symbol.asyncDispose]()
    },
  }
}

describe.each(databaseEngines)('a batch that is all or nothing, on $name', (engine) => {
  it('gets a place for each, and the same places when it asks again', async () => {
    await using its = await given(engine, { 'cn-1': 2, 'cn-2': 2 })
    const { uuids, ask } = await its.select(4)

    const first = await ask()
    const again = await ask()

    expect(first.selections.map(({ instance_uuid }) => instance_uuid).toSorted()).toEqual(uuids.toSorted())
    expect(await its.used()).toEqual({ 'cn-1': 2, 'cn-2': 2 })
    const places = ({ selections }: typeof first) =>
      new Map(selections.map(({ instance_uuid, selection }) => [instance_uuid, selection.host]))
    expect(places(again)).toEqual(places(first))
    for (const { selection } of first.selections) expect(selection.mem_encryption?.model).toBe('amd-sev')
  })

  it('gets none when one place is missing, and is told how many there were', async () => {
    await using its = await given(engine, { 'cn-1': 2, 'cn-2': 1 })
    const { ask } = await its.select(4)

    const refusal = await ask().catch((error: unknown) => error)

    expect(refusal).toBeInstanceOf(NoValidHost)
    expect((refusal as NoValidHost).message).toMatch(
      /^all or nothing, but only 3 of 4 instances fit; with those 3 counted as if they were there: no valid host /,
    )
    expect((refusal as NoValidHost).details).toMatchObject({
      fitting: 3,
      asked: 4,
      fix: expect.stringMatching(/^ask for 3 at most, or for as many as fit; or delete an encrypted instance /),
      report: { rejected: [{ filter: 'MemEncryptionSlots', hosts: 2 }] },
    })
    expect(await its.used()).toEqual({})
    // What was only drafted is free again, in memory too.
    await (await its.select(3)).ask()
    expect(await its.used()).toEqual({ 'cn-1': 2, 'cn-2': 1 })
  })

  it('is told what no host has room for, with nothing counted beside it', async () => {
    await using its = await given(engine, {})
    await its.placement.recordHost(aHostReport('cn-1'))

    await expect((await its.select(2)).ask()).rejects.toThrow(
      /^all or nothing, but none of 2 instances fits: no valid /,
    )
  })

  it('does not wait for one that was deleted meanwhile', async () => {
    await using its = await given(engine, { 'cn-1': 3 })
    const { uuids, ask } = await its.select(3)
    await its.placement.release({ instance_uuid: uuids[1] as string, attempt: 1 })

    const { selections } = await ask()

    expect(selections.map(({ instance_uuid }) => instance_uuid).toSorted()).toEqual(
      [uuids[0] as string, uuids[2] as string].toSorted(),
    )
  })

  it('spreads over hosts when its group must not share any', async () => {
    await using its = await given(engine, { 'cn-1': 9, 'cn-2': 9 })
    const { createServerGroup } = operatingEndpoint({
      database: its.test.database,
      placement: its.placement,
      refresh: async () => {},
      logger,
    })
    const { server_group } = await createServerGroup({ name: 'ring', policy: 'anti-affinity', rules: {} }, info)
    const hints = { scheduler_hints: { group: server_group.uuid, same_host: [], different_host: [] } }

    await expect((await its.select(3, { more: hints })).ask()).rejects.toThrow('only 2 of 3 instances fit')
    expect(await its.used()).toEqual({})
    await (await its.select(2, { more: hints })).ask()
    expect(await its.used()).toEqual({ 'cn-1': 1, 'cn-2': 1 })
  })

  it('goes together where all have room, and not where the first would be best alone', async () => {
    // Encrypted guests go where they fit tightest: to cn-1.
    await using its = await given(engine, { 'cn-1': 2, 'cn-2': 3, 'cn-3': 4 })
    const { createServerGroup } = operatingEndpoint({
      database: its.test.database,
      placement: its.placement,
      refresh: async () => {},
      logger,
    })
    const together = async (name: string) => {
      const { server_group } = await createServerGroup({ name, policy: 'affinity', rules: {} }, info)
      return { more: { scheduler_hints: { group: server_group.uuid, same_host: [], different_host: [] } } }
    }

    await (await its.select(4, await together('four'))).ask()
    expect(await its.used()).toEqual({ 'cn-3': 4 })
    await (await its.select(2, await together('two'))).ask()
    expect(await its.used()).toEqual({ 'cn-1': 2, 'cn-3': 4 })
    await expect((await its.select(4, await together('more'))).ask()).rejects.toThrow('only 3 of 4 instances fit')
    expect(await its.used()).toEqual({ 'cn-1': 2, 'cn-3': 4 })
    // What was only drafted is free again, in memory too.
    await (await its.select(3, await together('three'))).ask()
    expect(await its.used()).toEqual({ 'cn-1': 2, 'cn-2': 3, 'cn-3': 4 })
  })

  it('takes for each instance the best model that is left', async () => {
    await using its = await given(engine, {})
    await its.placement.recordHost(aHostReport('cn-1', { slots: { 'amd-sev': 1, 'amd-sev-es': 1 } }))
    const uuids = [randomUUID(), randomUUID()]
    const request_spec = RequestSpec.parse({
      ...aRequestSpec({ model: 'amd-sev' }),
      flavor: aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev,amd-sev-es' }),
      image: anImage(),
    })

    const { selections } = await (its.managers[0] as SchedulerManager).selectDestinationsOfBatch(
      { request_spec, instance_uuids: uuids },
      info,
    )

    expect(selections.map(({ selection }) => selection.mem_encryption?.model)).toEqual(['amd-sev', 'amd-sev-es'])
  })

  it('is whole or not there, however many batches several schedulers are asked for at once', async () => {
    await using its = await given(engine, { 'cn-1': 5, 'cn-2': 5, 'cn-3': 5 }, 3)
    const batches = await Promise.all(
      Array.from({ length: 9 }, (_, n) => its.select(4, { manager: its.managers[n % 3] as SchedulerManager })),
    )

    const outcomes = await Promise.allSettled(batches.map(({ ask }) => ask()))

    const placed = outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' ? outcome.value.selections.length : [],
    )
    expect(placed).toEqual([4, 4, 4])
    expect(Object.values(await its.used()).reduce((sum, n) => sum + n, 0)).toBe(12)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'NO_VALID_HOST' })
    }
  })
})

it('a batch leaves nothing behind in memory when a filter of the user breaks in the middle of it', async () => {
  const [engine] = databaseEngines as [DatabaseEngine]
  await using its = await given(engine, { 'cn-1': 2 })
  let looks = 0
  const breaking: HostFilter = {
    name: 'Breaking',
    reject: () => {
      if (++looks === 2) throw new TypeError('broken')
      return undefined
    },
  }
  const deps = { filters: defaultFilters(), weighers: defaultWeighers(), extraFilters: [breaking], logger }
  const manager = new SchedulerManager({ placement: its.placement, ...deps })
  await manager.start()
  const { ask } = await its.select(2, { manager })

  await expect(ask()).rejects.toThrow('broken')
  const { selections } = await ask()
  await manager.close()

  expect(selections.map(({ selection }) => selection.host)).toEqual(['cn-1', 'cn-1'])
})

it('a batch with a migration is refused, for its source would be held by nobody', () => {
  const { input } = SchedulerApi.methods.selectDestinationsOfBatch
  const instance_uuids = [randomUUID()]
  const moving = { ...aRequestSpec(), migration: { uuid: randomUUID(), type: 'resize' } }

  expect(input.safeParse({ request_spec: aRequestSpec(), instance_uuids }).success).toBe(true)
  expect(input.safeParse({ request_spec: moving, instance_uuids }).error?.issues).toMatchObject([
    {
      path: ['request_spec', 'migration'],
      message: 'instances move one by one: leave it out, or ask with select_destinations',
    },
  ])
})
