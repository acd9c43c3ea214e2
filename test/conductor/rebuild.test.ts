import { describe, expect, it } from 'vitest'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { NoValidHost } from '../../src/errors.ts'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import type { RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:00:00.000Z'
const FAULT = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LAUNCHED }
const NEWER = { ...anImage(), id: '22222222-2222-3333-4444-555555555555', name: 'newer' }
const withSev: ImageMeta = { ...NEWER, properties: { ...NEWER.properties, hw_mem_encryption: true } }
const withCode = (code: string) => expect.objectContaining({ code })
const info = (event: string) => `${event} → versioned_notifications.info`

const placed = (spec: RequestSpec): Selection => ({
  ...aSelection('h1', spec.attempt),
  ...(spec.mem_encryption === null && { allocations: [] }),
  mem_encryption: spec.mem_encryption,
})

describe.each(databaseEngines)('a rebuild on $name', (engine) => {
  /** An instance that runs on h1, and what the scheduler is asked about its rebuild. */
  async function running({ flavor = sevFlavor, image = anImage(), isStopped = false, ...changes }: Options = {}) {
    const asked: RequestSpec[] = []
    let isFull = false
    const cloud = await aConductor(
      engine,
      async (spec) => {
        if (spec.migration?.type === 'rebuild') asked.push(spec)
        if (isFull) throw new NoValidHost('no valid host: MemEncryptionSlots rejected 1')
        return placed(spec)
      },
      changes,
    )
    const { endpoint, request, states } = cloud
    states.set('h1', 'up')
    const args = { name: 'web', flavor, image, count: 1, ip_addresses: [] }
    const uuid = (await endpoint.buildInstances(args, request)).instances[0]?.uuid as string
    const ofInstance = { instance_uuid: uuid }
    const step = (attempt: number) => endpoint.continueBuild({ ...ofInstance, attempt }, request)
    const built = (attempt: number, outcome: object = { result: 'active', launched_at: LAUNCHED }) =>
      endpoint.reportBuild({ ...ofInstance, host: 'h1', attempt, outcome } as never, request)
    await step(1)
    await built(1)
    if (isStopped) {
      await endpoint.stopInstance({ ...ofInstance, clean_shutdown: true }, request)
      const outcome = { result: 'done' } as const
      await endpoint.reportAction({ ...ofInstance, host: 'h1', attempt: 1, number: 1, outcome }, request)
    }
    await cloud.sent()
    return {
      ...cloud,
      asked,
      uuid,
      ofInstance,
      step,
      built,
      fill: () => {
        isFull = true
      },
      rebuild: async (to: ImageMeta = NEWER, allow_encryption_loss = false) =>
        (await endpoint.rebuildInstance({ ...ofInstance, image: to, allow_encryption_loss }, request)).instance,
      now: () => cloud.instance(uuid),
      told: async () => (await cloud.sent()).map(({ to, what }) => `${what} → ${to.replace('sevbus-', '')}`),
      async move() {
        const { migrations = [], attempts } = await endpoint.explainInstance(ofInstance, request)
        return [migrations.map(({ status }) => status), attempts.map(({ outcome }) => outcome)]
      },
    }
  }
  type Options = Parameters<typeof aConductor>[2] & {
    readonly flavor?: typeof sevFlavor
    readonly image?: ImageMeta
    readonly isStopped?: boolean
  }

  it('asks the scheduler about its host, tells that to build, and is what the new image says when it runs', async () => {
    await using given = await running()

    expect(await given.rebuild()).toMatchObject({
      vm_state: 'active',
      task_state: 'rebuilding',
      host: 'h1',
      attempt: 2,
    })
    expect(await given.told()).toEqual(['continue_build → conductor'])
    await given.step(2)

    expect(given.asked).toMatchObject([
      { attempt: 2, force_hosts: ['h1'], ignore_hosts: [], image: NEWER, migration: { type: 'rebuild' } },
    ])
    const sent = await given.sent()
    expect(sent.map(({ what }) => what)).toEqual([
      ...['instance.rebuild_scheduled', 'instance.exists', 'slot.released', 'slot.claimed'],
      ...['instance.rebuild.start', 'rebuild_instance'],
    ])
    expect(sent.at(-1)).toMatchObject({
      to: 'sevbus-compute.h1',
      args: {
        instance: { image: NEWER, attempt: 2, task_state: 'rebuild_spawning', mem_encryption: { model: 'amd-sev' } },
        power_on: true,
        allocations: [{ provider: 'h1_amd_sev' }],
      },
    })

    await given.built(2)
    expect(await given.now()).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h1',
      image: NEWER,
      fault: null,
    })
    expect(await given.told()).toEqual([
      info('instance.rebuild.end'),
      'note_build → scheduler',
      'confirm_move → scheduler',
    ])
    expect(await given.move()).toEqual([['completed'], ['rebuilt', 'active']])
  })

  it('asked again while it is under way it is nothing, and so are steps and reports that come twice', async () => {
    await using given = await running()
    await given.rebuild()
    expect(await given.rebuild()).toMatchObject({ attempt: 2 })
    await expect(given.rebuild(withSev)).rejects.toEqual(withCode('INSTANCE_INVALID_STATE'))
    await given.step(2)
    await given.sent()

    await given.step(2)
    await given.built(2)
    await given.built(2)
    await given.step(2)

    expect(await given.told()).toEqual([
      info('instance.rebuild.end'),
      'note_build → scheduler',
      'confirm_move → scheduler',
    ])
  })

  it('one that was stopped stays off; one in ERROR is to run again', async () => {
    await using given = await running({ isStopped: true })
    await given.rebuild()
    await given.step(2)
    expect((await given.sent()).at(-1)).toMatchObject({ what: 'rebuild_instance', args: { power_on: false } })
    await given.built(2, { result: 'failed', fault: FAULT, retryable: true })
    expect(await given.now()).toMatchObject({ vm_state: 'error', host: 'h1', image: NEWER, fault: FAULT })
    expect(await given.told()).toEqual([
      'instance.rebuild.error → versioned_notifications.error',
      'note_build → scheduler',
      'confirm_move → scheduler',
    ])

    await given.rebuild()
    await given.step(3)
    expect((await given.sent()).at(-1)).toMatchObject({ what: 'rebuild_instance', args: { power_on: true } })
    await given.built(3)

    expect(await given.now()).toMatchObject({ vm_state: 'active', attempt: 3, fault: null })
    expect(await given.move()).toEqual([
      ['failed', 'completed'],
      ['rebuilt', 'rebuilt', 'active'],
    ])
  })

  it('gains an encryption with its slot, which is charged for from when the host is told', async () => {
    await using given = await running({ flavor: plainFlavor })
    await given.rebuild(withSev)
    await given.step(2)

    expect(given.asked[0]?.mem_encryption?.model).toBe('amd-sev')
    expect(await given.told()).toContain(info('slot.claimed'))
    expect(await given.now()).toMatchObject({ mem_encryption: { model: 'amd-sev', requested_by: 'image' } })

    await given.built(2)
    expect(await given.told()).not.toContain(info('slot.released'))
  })

  it('loses it only when somebody says so, and its slot is charged for until the earlier guest is gone', async () => {
    await using given = await running({ flavor: plainFlavor, image: withSev })
    await expect(given.rebuild()).rejects.toEqual(withCode('REBUILD_LOSES_ENCRYPTION'))
    expect(await given.told()).toEqual([])

    await given.rebuild(NEWER, true)
    await given.step(2)
    const begun = await given.told()
    await given.built(2)

    expect(begun.filter((each) => each.startsWith('slot.'))).toEqual([])
    expect(await given.now()).toMatchObject({ mem_encryption: null })
    const ended = await given.sent()
    expect(ended.map(({ what }) => what)).toEqual([
      ...['instance.rebuild.end', 'note_build', 'slot.released', 'confirm_move'],
    ])
    expect(ended[2]?.args).toMatchObject({ 'nova_object.data': { attempt: 1, model: 'amd-sev' } })
  })

  it('that its host cannot do changes nothing, and says why', async () => {
    await using given = await running({ flavor: plainFlavor })
    given.fill()
    await given.rebuild(withSev)
    await given.sent()

    await given.step(2)

    const { fault, ...instance } = await given.now()
    expect(instance).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', attempt: 1, image: anImage() })
    expect(fault?.message).toMatch(/^the rebuild failed, and the instance is on h1 as before: .*MemEncryptionSlots/)
    expect(await given.told()).toEqual([
      'revert_move → scheduler',
      'compute_task.rebuild_server.error → versioned_notifications.error',
    ])
    expect(await given.move()).toEqual([['failed'], ['active', 'no valid host']])
  })

  it.each([
    ['that keeps its model', sevFlavor, NEWER, ['slot.released', 'slot.claimed']],
    ['that would gain a model', plainFlavor, withSev, ['slot.released']],
  ])('%s, refused by its host before it touched anything, leaves all as it was', async (_, flavor, image, slots) => {
    await using given = await running({ flavor, isStopped: true })
    const { mem_encryption } = await given.now()
    await given.rebuild(image)
    await given.step(2)
    await given.sent()

    const fault = { ...FAULT, code: 'IMAGE_NOT_FOUND', message: 'the store has none' }
    await given.built(2, { result: 'failed', fault, retryable: false, unchanged: true })
    await given.built(2, { result: 'failed', fault, retryable: false, unchanged: true })

    expect(await given.now()).toMatchObject({
      ...{ vm_state: 'stopped', task_state: null, host: 'h1', attempt: 1, image: anImage(), mem_encryption },
      fault: {
        code: 'IMAGE_NOT_FOUND',
        message: 'the rebuild failed, and the instance is on h1 as before: the store has none',
      },
    })
    expect(await given.told()).toEqual([
      ...['revert_move → scheduler', 'instance.rebuild.error → versioned_notifications.error'],
      ...slots.map(info),
    ])
    expect(await given.move()).toEqual([['failed'], ['active', 'failed']])
  })

  it('an image that could not be booted is refused before anything is stored', async () => {
    await using given = await running()

    await expect(given.rebuild(anImage({ hw_machine_type: 'pc' }))).rejects.toEqual(withCode('FLAVOR_IMAGE_CONFLICT'))
    expect(await given.now()).toMatchObject({ task_state: null, attempt: 1 })
  })

  it('its host is asked again when it says nothing, and is the only one that is', async () => {
    let now = new Date(LAUNCHED)
    await using given = await running({ now: () => now })
    const later = async () => {
      now = new Date(now.getTime() + 120_000)
      await reviveOverdue(given.ports)
    }
    await given.rebuild()
    await given.sent()
    await later()
    expect(await given.told()).toEqual(['continue_build → conductor'])
    await given.step(2)
    await given.sent()

    await later()

    expect(await given.told()).toEqual(['rebuild_instance → compute.h1'])
    expect(await given.now()).toMatchObject({ task_state: 'rebuild_spawning', attempt: 2 })
  })

  it('deleted before its host was told, all is as it was, and goes; after that it goes as what it became', async () => {
    await using given = await running({ flavor: plainFlavor, image: withSev })
    await given.rebuild(NEWER, true)
    await given.sent()
    await given.endpoint.deleteInstance(given.ofInstance, given.request)
    expect(await given.now()).toMatchObject({
      task_state: 'deleting',
      attempt: 1,
      mem_encryption: { model: 'amd-sev' },
    })
    expect(await given.told()).toEqual([
      ...['revert_move → scheduler', info('instance.delete.start'), 'terminate_instance → compute.h1'],
    ])

    await using later = await running({ flavor: plainFlavor, image: withSev })
    await later.rebuild(NEWER, true)
    await later.step(2)
    await later.sent()
    await later.endpoint.deleteInstance(later.ofInstance, later.request)
    expect(await later.now()).toMatchObject({ task_state: 'deleting', attempt: 2, mem_encryption: null })
    expect(await later.told()).toEqual([
      'instance.rebuild.error → versioned_notifications.error',
      ...[info('slot.released'), info('instance.delete.start'), 'terminate_instance → compute.h1'],
    ])
    await later.built(2)
    expect(await later.now()).toMatchObject({ task_state: 'deleting' })
  })

  it('whose host dies over it can be evacuated; come back to, it is in ERROR, for nobody knows what is there', async () => {
    await using given = await running()
    await given.rebuild()
    await given.step(2)
    given.states.set('h1', 'down')
    await given.sent()

    await given.endpoint.evacuateInstance(given.ofInstance, given.request)
    expect(await given.now()).toMatchObject({ task_state: 'rebuilding', host: null, attempt: 3, image: NEWER })
    expect((await given.told()).filter((each) => each.endsWith('scheduler'))).toEqual(['confirm_move → scheduler'])
    given.fill()
    await given.step(3)

    expect(await given.now()).toMatchObject({ vm_state: 'error', task_state: null, host: 'h1', attempt: 2 })
  })
})
