import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { NoValidHost, StaleAttempt } from '../../src/errors.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { memEncryptionRequest } from '../../src/objects/mem-encryption-request.ts'
import { type Allocation, RequestSpec } from '../../src/objects/request-spec.ts'
import { requestFlavor } from '../../src/objects/resource-request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { setHost } from '../../src/scheduler/operating/host-settings.ts'
import { confirmMove, revertMove } from '../../src/scheduler/placement/moves.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { moreOfBoth } from '../../src/scheduler/rebuild-claim.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { INSTANCE_UUID } from './builders.ts'

const OTHER = 'bbbbbbbb-0000-4000-8000-000000000002'
const migration = { uuid: 'aaaaaaaa-0000-4000-8000-000000000001', type: 'rebuild' } as const
const move = { instance_uuid: INSTANCE_UUID, migration }
const SLOT = 'MEM_ENCRYPTION_CONTEXT'
const withModels = (...models: readonly MemEncryptionModel[]) =>
  anImage({
    ...{ hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: true },
    ...(models.length > 0 && { hw_mem_encryption: true, hw_mem_encryption_model: models.join() }),
  })

/** So large that two of them do not fit beside each other. */
const flavor = aFlavor({}, { memory_mb: 40_000 })

function spec(image = withModels(), more: object = {}) {
  const encryptions = memEncryptionRequest(flavor, image)
  return RequestSpec.parse({
    instance_uuid: INSTANCE_UUID,
    attempt: 1,
    project_id: null,
    user_id: null,
    image,
    flavor: requestFlavor(flavor, encryptions),
    mem_encryption: encryptions.at(-1) ?? null,
    ...more,
  })
}

describe('what an instance has while it is rebuilt', () => {
  it('is of each resource the more, pinned where either pins it, and the slot that it is to have', () => {
    const memory = { provider: 'h', resource_class: 'MEMORY_MB' }
    const sev: Allocation[] = [
      { ...memory, amount: 1100, pinned: true },
      { provider: 'h_amd_sev', resource_class: SLOT, amount: 1 },
    ]

    expect(moreOfBoth([{ ...memory, amount: 1000 }], sev)).toEqual(sev)
    expect(moreOfBoth(sev, [{ ...memory, amount: 1200 }])).toEqual([{ ...memory, amount: 1200, pinned: true }])
  })
})

describe.each(databaseEngines)('a rebuild by the scheduler on $name', (engine) => {
  /** An instance that runs on its only host. */
  async function running(image = withModels(), slots: Partial<Record<MemEncryptionModel, number>> = { 'amd-sev': 1 }) {
    const opened = await engine.open(placementMigrations)
    const { database } = opened
    const placement = new DatabasePlacement(database)
    await placement.recordHost(aHostReport('cn-1', { slots }))
    const scheduler = new SchedulerManager({
      placement,
      filters: defaultFilters({ maxInstancesPerHost: 1 }),
      weighers: defaultWeighers(),
      logger: pino({ level: 'silent' }),
    })
    await scheduler.start()
    const info = { context: newRequestContext(), signal: new AbortController().signal }
    const select = async (request_spec: ReturnType<typeof spec>) =>
      (await scheduler.selectDestinations({ request_spec }, info)).selection
    await select(spec(image))
    return {
      database,
      placement,
      rebuild: (next = withModels(), more: object = {}) =>
        select(spec(next, { attempt: 2, migration, force_hosts: ['cn-1'], ...more })),
      /** What is used of each: the pools by their models' words. */
      async used() {
        const [host] = await placement.hostStates(['cn-1'])
        const memory = host?.root.inventories.MEMORY_MB
        const pools = (host?.pools ?? []).flatMap(({ name, inventories }) =>
          inventories[SLOT]?.used ? [name.replace('cn-1_amd_', '')] : [],
        )
        return { vcpus: host?.root.inventories.VCPU?.used, pinned: (memory?.pinned ?? 0) > 0, pools }
      },
      async [Symbol.asyncDispose]() {
        await scheduler.close()
        await opened[Symbol.asyncDispose]()
      },
    }
  }

  it('needs no room beside what the instance has, and none of the limits of who comes', async () => {
    await using given = await running(withModels('amd-sev'))
    await setHost(given.database, 'cn-1', { disabled: true, disabled_reason: 'new memory' })

    const selection = await given.rebuild(withModels('amd-sev'))

    expect(selection).toMatchObject({ host: 'cn-1', attempt: 2, mem_encryption: { model: 'amd-sev' } })
    expect(await given.used()).toEqual({ vcpus: 1, pinned: true, pools: ['sev'] })
    expect(await given.rebuild(withModels('amd-sev'))).toEqual(selection)
  })

  it('gains a slot in the step of its claim, and gives it back when it is reverted', async () => {
    await using given = await running()

    const selection = await given.rebuild(withModels('amd-sev'))

    expect(selection.allocations).toContainEqual({ provider: 'cn-1_amd_sev', resource_class: SLOT, amount: 1 })
    expect(await given.used()).toEqual({ vcpus: 1, pinned: true, pools: ['sev'] })

    expect(await revertMove(given.database, move)).toBe('cn-1')
    expect(await given.used()).toEqual({ vcpus: 1, pinned: false, pools: [] })
    await expect(given.rebuild(withModels('amd-sev'))).rejects.toThrow(StaleAttempt)
  })

  it('is refused without a slot for it, with the reason, and nothing has changed', async () => {
    await using given = await running(withModels(), { 'amd-sev': 1 })
    const before = await given.used()
    const allocations = [
      { provider: 'cn-1', resource_class: 'MEMORY_MB', amount: 1, pinned: true },
      { provider: 'cn-1_amd_sev', resource_class: SLOT, amount: 1 },
    ]
    const report = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
    await given.placement.claim(OTHER, { host: 'cn-1', attempt: 1, allocations, report })

    const refusal = await given.rebuild(withModels('amd-sev')).catch((error: unknown) => error)

    expect(refusal).toBeInstanceOf(NoValidHost)
    expect(String(refusal)).toContain('MemEncryptionSlots')
    await given.placement.release({ instance_uuid: OTHER, attempt: 1 })
    expect(await given.used()).toEqual(before)
  })

  it('keeps the slot that it gives up until the earlier guest is known to be gone', async () => {
    await using given = await running(withModels('amd-sev'))

    const selection = await given.rebuild(withModels())

    expect(selection.mem_encryption).toBeNull()
    expect(selection.allocations.map(({ resource_class }) => resource_class)).not.toContain(SLOT)
    expect(await given.used()).toEqual({ vcpus: 1, pinned: true, pools: ['sev'] })
    // Another scheduler that is asked the same tells the same, and not what is held meanwhile.
    expect((await given.rebuild(withModels())).allocations).toEqual(selection.allocations)

    expect(await confirmMove(given.database, move)).toBe('cn-1')
    expect(await confirmMove(given.database, move)).toBeUndefined()
    expect(await given.used()).toEqual({ vcpus: 1, pinned: false, pools: [] })
  })

  it('goes from one model to another with both slots between, and to the first of several that there is', async () => {
    await using given = await running(withModels('amd-sev'), { 'amd-sev': 1, 'amd-sev-es': 1 })

    const selection = await given.rebuild(withModels('amd-sev-snp', 'amd-sev-es'))

    expect(selection.mem_encryption?.model).toBe('amd-sev-es')
    expect((await given.used()).pools).toEqual(['sev', 'sev_es'])
    await confirmMove(given.database, move)
    expect((await given.used()).pools).toEqual(['sev_es'])
  })

  it('is given back with the instance', async () => {
    await using given = await running(withModels('amd-sev'))
    await given.rebuild()

    await given.placement.release({ instance_uuid: INSTANCE_UUID, attempt: 2 })

    expect(await given.used()).toEqual({ vcpus: 0, pinned: false, pools: [] })
    expect(await confirmMove(given.database, move)).toBeUndefined()
  })

  it('is of the host that the instance is on, and of no other', async () => {
    await using given = await running()

    await expect(given.rebuild(withModels(), { force_hosts: ['cn-2'] })).rejects.toThrow('Claim rejected 1')
    await setHost(given.database, 'cn-1', { forced_down: true })
    await expect(given.rebuild()).rejects.toThrow('ComputeFilter rejected 1')
  })
})
