import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { setHost } from '../../../src/scheduler/operating/host-settings.ts'
import { confirmMove, finishMove, revertMove } from '../../../src/scheduler/placement/moves.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'

const SLOTS = 4
const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
const FENCED = { fenced: true } as const

function selection(host: string, attempt: number) {
  const allocations = [
    { provider: host, resource_class: 'MEMORY_MB', amount: 1024, pinned: true },
    { provider: `${host}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
  ]
  return { host, attempt, allocations, report: NO_REPORT }
}

describe.each(databaseEngines)('evacuations on $name', ({ open }) => {
  /** Instances that were on cn-1 and have a claim on cn-2 by now. */
  async function evacuating(count = 1) {
    const test = await open(placementMigrations)
    const { database } = test
    const placement = new DatabasePlacement(database)
    for (const host of ['cn-1', 'cn-2', 'cn-3'])
      await placement.recordHost(aHostReport(host, { slots: { 'amd-sev': SLOTS } }))
    const moves = Array.from({ length: count }, () => ({
      instance_uuid: randomUUID(),
      migration: { uuid: randomUUID(), type: 'evacuation' as const },
    }))
    const claim = (uuid: string, host: string, attempt: number, migration?: (typeof moves)[number]['migration']) =>
      placement.grant({ instance_uuid: uuid, selection: selection(host, attempt), migration })
    for (const { instance_uuid, migration } of moves) {
      await claim(instance_uuid, 'cn-1', 1)
      await claim(instance_uuid, 'cn-2', 2, migration)
    }
    const slots = async () =>
      Object.fromEntries(
        (await placement.hostStates()).map(({ host, pools }) => [
          host,
          pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT?.used,
        ]),
      )
    const [move] = moves as [(typeof moves)[number]]
    return { database, placement, moves, move, claim, slots, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  it('that are finished keep the slot on the dead host until its worker has removed the guest', async () => {
    await using given = await evacuating()

    expect(await finishMove(given.database, given.move)).toBeUndefined()
    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 1, 'cn-3': 0 })

    expect(await confirmMove(given.database, given.move)).toBe('cn-1')
    expect(await confirmMove(given.database, given.move)).toBeUndefined()
    expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': 1, 'cn-3': 0 })
  })

  it('that are finished give it back when the host is fenced, and say how many did', async () => {
    await using given = await evacuating(2)
    for (const move of given.moves) await finishMove(given.database, move)

    const freed = [
      await setHost(given.database, 'cn-1', { forced_down: true }),
      await setHost(given.database, 'cn-1', FENCED),
      await setHost(given.database, 'cn-1', FENCED),
    ]

    expect(freed).toEqual([0, 2, 0])
    expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': 2, 'cn-3': 0 })
    expect(await confirmMove(given.database, given.move)).toBeUndefined()
  })

  it('from a host that is fenced already give it back when they are finished, and no sooner', async () => {
    await using given = await evacuating()
    await setHost(given.database, 'cn-1', FENCED)

    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 1, 'cn-3': 0 })
    expect(await finishMove(given.database, given.move)).toBe('cn-1')
    expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': 1, 'cn-3': 0 })
  })

  it('that are finished are not reverted any more, and finishing twice is nothing', async () => {
    await using given = await evacuating()
    await finishMove(given.database, given.move)

    expect(await revertMove(given.database, given.move)).toBeUndefined()
    expect(await finishMove(given.database, given.move)).toBeUndefined()

    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 1, 'cn-3': 0 })
  })

  it('keep the slot when the instance is given back meanwhile: the guest may be there still', async () => {
    await using given = await evacuating()

    // The deletion of the instance overtakes the end of its evacuation.
    await given.placement.release({ instance_uuid: given.move.instance_uuid, attempt: 2 })
    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 0, 'cn-3': 0 })
    await finishMove(given.database, given.move)
    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 0, 'cn-3': 0 })

    expect(await setHost(given.database, 'cn-1', FENCED)).toBe(1)
    expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': 0, 'cn-3': 0 })
  })

  it('go on to a third host when the second dies too, and hold both until each is fenced', async () => {
    await using given = await evacuating()
    const { instance_uuid } = given.move
    await finishMove(given.database, given.move)

    const next = { instance_uuid, migration: { uuid: randomUUID(), type: 'evacuation' as const } }
    await given.claim(instance_uuid, 'cn-3', 3, next.migration)
    await finishMove(given.database, next)

    expect(await given.slots()).toEqual({ 'cn-1': 1, 'cn-2': 1, 'cn-3': 1 })
    expect(await setHost(given.database, 'cn-1', FENCED)).toBe(1)
    expect(await setHost(given.database, 'cn-2', FENCED)).toBe(1)
    expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': 0, 'cn-3': 1 })
  })

  it('and the fence of their host see each other, whoever comes first', async () => {
    for (let round = 0; round < 5; round++) {
      await using given = await evacuating(SLOTS)

      const finished = given.moves.map((move) => finishMove(given.database, move))
      await Promise.all([...finished, setHost(given.database, 'cn-1', FENCED)])

      expect(await given.slots()).toEqual({ 'cn-1': 0, 'cn-2': SLOTS, 'cn-3': 0 })
    }
  })
})
