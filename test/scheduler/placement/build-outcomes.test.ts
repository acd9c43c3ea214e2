import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { setHost } from '../../../src/scheduler/operating/host-settings.ts'
import { countFailure, countSuccesses, countSuccessesAtRest } from '../../../src/scheduler/placement/build-outcomes.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'

describe.each(databaseEngines)('builds that fail in a row, on $name', ({ open }) => {
  /** A host, with a claim for each build that is to end. */
  async function given() {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    await placement.recordHost(aHostReport('cn-1'))
    const claimed = async (attempt = 1) => {
      const instance_uuid = randomUUID()
      const report = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
      const allocations = [{ provider: 'cn-1', resource_class: 'VCPU', amount: 1 }]
      await placement.claim(instance_uuid, { host: 'cn-1', attempt, allocations, report })
      return { instance_uuid, attempt, host: 'cn-1' }
    }
    const fails = async (failure: string) => countFailure(test.database, await claimed(), failure, 3)
    const succeeds = async () => countSuccesses(test.database, [await claimed(), await claimed()])
    const host = async () => {
      const [row] = await test.database.query(
        'select failed_builds, disabled, disabled_by, disabled_reason from compute_hosts',
      )
      return row
    }
    return { test, claimed, fails, succeeds, host, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }
  const FINE = { failed_builds: 0, disabled: false, disabled_by: null, disabled_reason: null }

  it('are counted, and disable the host with the last failure as the reason', async () => {
    await using its = await given()

    expect(await its.fails('SPAWN_FAILED: no QEMU')).toEqual({ failedBuilds: 1, isDisabled: false })
    expect(await its.fails('SPAWN_FAILED: no QEMU')).toEqual({ failedBuilds: 2, isDisabled: false })
    expect(await its.host()).toEqual({ ...FINE, failed_builds: 2 })
    expect(await its.fails('SPAWN_FAILED: disk is 100% full')).toEqual({ failedBuilds: 3, isDisabled: true })
    expect(await its.host()).toEqual({
      failed_builds: 3,
      disabled: true,
      disabled_by: 'build failures',
      disabled_reason: '3 builds in a row failed here, the last one: SPAWN_FAILED: disk is 100% full',
    })
  })

  it('begin anew with a success, which enables the host again', async () => {
    await using its = await given()
    for (const failure of ['a', 'b', 'c', 'd']) await its.fails(failure)

    expect(await its.succeeds()).toEqual(['cn-1'])
    expect(await its.host()).toEqual(FINE)
    expect(await its.succeeds()).toEqual([])
  })

  it('leave a success to the statement that forgets them; where there are none it is counted without, and once', async () => {
    await using its = await given()
    const { database } = its.test
    const [first, second] = [await its.claimed(), await its.claimed()]

    expect(await countSuccessesAtRest(database, [first])).toBe(true)
    expect(await countFailure(database, first, 'told late of the same try', 3)).toBeUndefined()
    await its.fails('SPAWN_FAILED: no QEMU')
    expect(await countSuccessesAtRest(database, [first, second])).toBe(false)
    expect(await its.host()).toEqual({ ...FINE, failed_builds: 1 })
    expect(await countSuccesses(database, [first])).toEqual([])
    expect(await its.host()).toEqual({ ...FINE, failed_builds: 1 })
    expect(await countSuccesses(database, [second])).toEqual([])
    expect(await its.host()).toEqual(FINE)
  })

  it('never take from an operator what he has decided, nor does a success', async () => {
    await using its = await given()
    await setHost(its.test.database, 'cn-1', { disabled: true, disabled_reason: 'new fans' })
    const byOperator = { disabled: true, disabled_by: 'operator', disabled_reason: 'new fans' }

    for (const failure of ['a', 'b', 'c', 'd']) await its.fails(failure)
    expect(await its.host()).toEqual({ ...byOperator, failed_builds: 4 })
    await its.succeeds()
    expect(await its.host()).toEqual({ ...byOperator, failed_builds: 0 })
  })

  it('are forgotten when an operator enables the host', async () => {
    await using its = await given()
    for (const failure of ['a', 'b', 'c']) await its.fails(failure)

    await setHost(its.test.database, 'cn-1', { disabled: false })

    expect(await its.host()).toEqual(FINE)
    expect(await its.fails('d')).toEqual({ failedBuilds: 1, isDisabled: false })
  })

  it('are each counted once, however often and late they are told', async () => {
    await using its = await given()
    const failed = await its.claimed(2)
    await countFailure(its.test.database, failed, 'a', 3)

    expect(await countFailure(its.test.database, failed, 'a', 3)).toBeUndefined()
    await countSuccesses(its.test.database, [failed, { ...failed, attempt: 1 }])
    expect(await its.host()).toEqual({ ...FINE, failed_builds: 1 })
  })

  it('disable nothing where the operator has switched it off', async () => {
    await using its = await given()

    for (let n = 0; n < 12; n++) await countFailure(its.test.database, await its.claimed(), 'a', 0)

    expect(await its.host()).toEqual({ ...FINE, failed_builds: 12 })
  })

  it('are all counted when they end at the same time', async () => {
    await using its = await given()
    const builds = await Promise.all(Array.from({ length: 8 }, () => its.claimed()))

    const counted = await Promise.all(builds.map((build) => countFailure(its.test.database, build, 'a', 5)))

    expect(counted.map((one) => one?.failedBuilds).toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(counted.filter((one) => one?.isDisabled)).toEqual([{ failedBuilds: 5, isDisabled: true }])
  })
})
