import { describe, expect, it } from 'vitest'
import { resendUnfinished } from '../../src/conductor/resend.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { HostCapabilityMissing, NoValidHost } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { aFlavor, anImage, sevFlavor } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:00:00.000Z'
const DISKS = { folder: '/shared/h1/x_resize', files: [{ name: 'disk', bytes: 1 }] }
const LARGER = { ...sevFlavor, flavorid: 'larger', name: 'larger', memory_mb: sevFlavor.memory_mb * 2 }
const CLEAR = { ...aFlavor({}), flavorid: 'clear', name: 'clear' }
const FAULT = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LAUNCHED }
const NOT_SHARED = { ...FAULT, code: 'INVALID_SHARED_STORAGE', message: 'not shared' }
const withCode = (code: string) => expect.objectContaining({ code })

const slotOf = (host: string, spec: RequestSpec): Selection =>
  spec.mem_encryption === null
    ? { ...aSelection(host, spec.attempt), allocations: [], mem_encryption: null }
    : { ...aSelection(host, spec.attempt), mem_encryption: spec.mem_encryption }

describe.each(databaseEngines)('resize and cold migration on $name', (engine) => {
  /** An instance that runs on h1; the scheduler finds h2, then h3, and what it was asked is kept. */
  async function running(changes: Parameters<typeof aConductor>[2] = {}) {
    const asked: RequestSpec[] = []
    let isFull = false
    const conductor = await aConductor(
      engine,
      async (spec) => {
        if (spec.migration === undefined) return slotOf('h1', spec)
        asked.push(spec)
        const host = ['h2', 'h3'].find((each) => !spec.ignore_hosts.includes(each))
        if (host === undefined || isFull) throw new NoValidHost('no valid host')
        return slotOf(host, spec)
      },
      changes,
    )
    const { endpoint, request, states } = conductor
    for (const host of ['h1', 'h2', 'h3']) states.set(host, 'up')
    const { uuid } = await conductor.accept()
    const ofInstance = { instance_uuid: uuid }
    const step = (attempt: number) => endpoint.continueBuild({ ...ofInstance, attempt }, request)
    const built = (host: string, attempt: number, outcome: object = { result: 'active', launched_at: LAUNCHED }) =>
      endpoint.reportBuild({ ...ofInstance, host, attempt, outcome } as never, request)
    const acted = (number: number, outcome: object, host = 'h1', attempt = 1) =>
      endpoint.reportAction({ ...ofInstance, host, attempt, number, outcome } as never, request)
    await step(1)
    await built('h1', 1)
    await conductor.sent()
    const resize = (flavor: typeof LARGER = LARGER) => endpoint.resizeInstance({ ...ofInstance, flavor }, request)
    return {
      ...conductor,
      uuid,
      asked,
      fill: () => {
        isFull = true
      },
      resize,
      migrate: (host?: string) => endpoint.migrateInstance({ ...ofInstance, ...(host && { host }) }, request),
      confirm: () => endpoint.confirmResize(ofInstance, request),
      revert: () => endpoint.revertResize(ofInstance, request),
      remove: () => endpoint.deleteInstance(ofInstance, request),
      step,
      built,
      acted,
      gone: async (host: string, attempt: number) => {
        const { migrations = [] } = await endpoint.explainInstance(ofInstance, request)
        const migration_uuid = migrations.at(-1)?.uuid as string
        const report = { ...ofInstance, host, attempt, terminated_at: LAUNCHED, migration_uuid }
        await endpoint.reportTerminated(report, request)
      },
      /** Up to `resized` on h2, as try 2. */
      async resized(flavor?: typeof LARGER) {
        await resize(flavor)
        await step(2)
        await acted(1, { result: 'done', disks: DISKS })
        await built('h2', 2)
        await conductor.sent()
      },
      now: () => conductor.instance(uuid),
      /** What was told of slots is apart. */
      told: async () =>
        (await conductor.sent())
          .filter(({ what }) => !String(what).startsWith('slot.'))
          .map(({ to, what }) => `${what} → ${to.replace('sevbus-', '')}`),
      async slots() {
        const told = (await conductor.sent()).filter(({ what }) => String(what).startsWith('slot.'))
        return told.map(({ what, args }) => `${what} on ${(args['nova_object.data'] as { host: string }).host}`)
      },
      async moves() {
        const { migrations = [] } = await endpoint.explainInstance(ofInstance, request)
        return migrations.map(({ status, source_host, dest_host }) => `${status}: ${source_host} to ${dest_host}`)
      },
    }
  }

  const info = (event: string) => `${event} → versioned_notifications.info`

  it('goes by prep at the destination, off at the source, on at the destination, and waits there for a decision', async () => {
    await using given = await running()

    const { instance: accepted } = await given.resize()
    expect(accepted).toMatchObject({ vm_state: 'active', task_state: 'resize_prep', host: 'h1', attempt: 2 })
    expect(await given.told()).toEqual(['continue_build → conductor'])

    await given.step(2)
    expect(await given.now()).toMatchObject({ task_state: 'resize_migrating', host: 'h1', flavor: sevFlavor })
    expect(await given.told()).toEqual([
      info('instance.exists'),
      info('instance.resize_prep.start'),
      info('instance.resize_prep.end'),
      info('instance.resize.start'),
      'resize_instance → compute.h1',
    ])

    await given.acted(1, { result: 'done', disks: DISKS })
    expect(await given.now()).toMatchObject({ task_state: 'resize_finish', host: 'h2', flavor: LARGER })
    const sent = await given.sent()
    expect(sent.map(({ what }) => what)).toEqual([
      'instance.resize.end',
      'instance.resize_finish.start',
      'finish_resize',
    ])
    expect(sent[2]).toMatchObject({
      to: 'sevbus-compute.h2',
      args: { disks: DISKS, power_on: true, allocations: [{ provider: 'h2_amd_sev' }], instance: { attempt: 2 } },
    })

    await given.built('h2', 2)
    expect(await given.now()).toMatchObject({ vm_state: 'resized', task_state: null, host: 'h2', attempt: 2 })
    expect(await given.told()).toEqual([info('instance.resize_finish.end'), 'note_build → scheduler'])
    expect(await given.moves()).toEqual(['finished: h1 to h2'])
  })

  it('asks the scheduler for what the new flavor asks, with the source held and left out', async () => {
    await using given = await running()
    await given.resize(CLEAR)

    await given.step(2)

    expect(given.asked).toHaveLength(1)
    expect(given.asked[0]).toMatchObject({
      attempt: 2,
      ignore_hosts: ['h1'],
      mem_encryption: null,
      flavor: { name: 'clear' },
      migration: { type: 'resize' },
    })
    await given.acted(1, { result: 'done', disks: DISKS })
    expect(await given.now()).toMatchObject({ mem_encryption: null, flavor: { name: 'clear' } })
  })

  it('what it has on each host is told when it is claimed there, and when it is charged for no more', async () => {
    await using given = await running()
    await given.resize()
    await given.step(2)
    expect(await given.slots()).toEqual(['slot.claimed on h2'])
    await given.acted(1, { result: 'failed', fault: FAULT, guest: 'running' })
    expect(await given.slots()).toEqual(['slot.released on h2'])
    await given.migrate()
    await given.step(3)
    await given.acted(2, { result: 'done', disks: DISKS })
    await given.built('h2', 3)
    expect(await given.slots()).toEqual(['slot.claimed on h2'])
    await given.revert()
    await given.gone('h2', 3)
    expect(await given.slots()).toEqual(['slot.released on h2'])
    await given.acted(3, { result: 'done' })
    await given.migrate()
    await given.step(4)
    await given.acted(4, { result: 'done', disks: DISKS })
    await given.built('h2', 4)
    await given.confirm()
    await given.gone('h1', 1)
    expect(await given.slots()).toEqual(['slot.claimed on h2', 'slot.released on h1'])
  })

  it('confirmed, it is active there once the source has nothing of it, and that is given back', async () => {
    await using given = await running()
    await given.resized()

    const { instance: confirming } = await given.confirm()
    const again = await given.confirm()
    expect(confirming).toMatchObject({ vm_state: 'resized', task_state: 'resize_confirming' })
    expect(again.instance).toEqual(confirming)
    expect(await given.told()).toEqual([info('instance.resize_confirm.start'), 'terminate_instance → compute.h1'])

    await given.gone('h1', 1)
    await given.gone('h1', 1)
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2', flavor: LARGER })
    expect(await given.told()).toEqual([info('instance.resize_confirm.end'), 'confirm_move → scheduler'])
    expect(await given.moves()).toEqual(['completed: h1 to h2'])
    expect(await given.attempts(given.uuid)).toEqual([
      { attempt: 1, host: 'h1', outcome: 'moved' },
      { attempt: 2, host: 'h2', outcome: 'active' },
    ])
  })

  it('reverted, its destination lets go first, and the source then makes it what it was', async () => {
    await using given = await running()
    const before = await given.now()
    await given.resized()

    await given.revert()
    expect(await given.now()).toMatchObject({ vm_state: 'resized', task_state: 'resize_reverting', host: 'h2' })
    expect(await given.told()).toEqual([
      'terminate_instance → compute.h2',
      'continue_build → conductor',
      info('instance.exists'),
    ])

    await given.gone('h2', 2)
    expect(await given.now()).toMatchObject({ task_state: 'resize_reverting', host: 'h1', attempt: 1 })
    expect(await given.told()).toEqual([
      'revert_move → scheduler',
      info('instance.resize_revert.start'),
      'finish_revert_resize → compute.h1',
    ])

    await given.acted(2, { result: 'done' })
    expect(await given.now()).toEqual({
      ...before,
      launched_at: expect.any(String),
      updated_at: expect.any(String),
    })
    expect(await given.told()).toEqual([info('instance.resize_revert.end')])
    expect(await given.moves()).toEqual(['reverted: h1 to h2'])
    // It can be moved again, under a number that was never given.
    expect((await given.migrate()).instance).toMatchObject({ attempt: 3 })
  })

  it('deleted while its source makes it what it was, that is told to be over before the deletion begins', async () => {
    await using given = await running()
    await given.resized()
    await given.revert()
    await given.gone('h2', 2)
    expect(await given.told()).toContain(info('instance.resize_revert.start'))

    await given.remove()

    expect(await given.told()).toEqual([
      ...['instance.resize_revert.error → versioned_notifications.error', info('instance.delete.start')],
      'terminate_instance → compute.h1',
    ])
  })

  it('is refused before anything changes: the same flavor, a smaller disk, a contradiction, a host that is none', async () => {
    await using given = await running()
    const before = await given.now()
    const needsUefi = {
      ...LARGER,
      extra_specs: { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp' },
    }

    await expect(given.resize({ ...sevFlavor })).rejects.toThrow(withCode('CANNOT_RESIZE_TO_SAME_FLAVOR'))
    await expect(given.resize({ ...LARGER, root_gb: sevFlavor.root_gb - 1 })).rejects.toThrow(
      withCode('CANNOT_RESIZE_DISK'),
    )
    await expect(given.resize(needsUefi)).rejects.toThrow(withCode('STATELESS_FIRMWARE_REQUIRED'))
    await expect(given.migrate('h1')).rejects.toThrow(withCode('INVALID_ARGUMENTS'))
    await expect(given.migrate('h9')).rejects.toThrow(withCode('COMPUTE_HOST_NOT_FOUND'))
    await expect(given.confirm()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    await expect(given.revert()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    expect(await given.now()).toEqual(before)
    expect(await given.sent()).toEqual([])
  })

  it('an image that demands encryption holds against a flavor that refuses it', async () => {
    await using given = await running()
    const image = anImage({ hw_mem_encryption: true, hw_firmware_type: 'uefi', hw_machine_type: 'q35' })
    const args = { name: 'db', flavor: sevFlavor, image, count: 1, ip_addresses: [] }
    const { instances } = await given.endpoint.buildInstances(args, given.request)
    const { uuid: instance_uuid } = instances[0] as Instance
    await given.endpoint.continueBuild({ instance_uuid, attempt: 1 }, given.request)
    const outcome = { result: 'active', launched_at: LAUNCHED } as const
    await given.endpoint.reportBuild({ instance_uuid, attempt: 1, host: 'h1', outcome }, given.request)
    const flavor = { ...CLEAR, extra_specs: { 'hw:mem_encryption': 'false' } }

    await expect(given.endpoint.resizeInstance({ instance_uuid, flavor }, given.request)).rejects.toThrow(
      withCode('FLAVOR_IMAGE_CONFLICT'),
    )
  })

  it('asked again while it is under way, it is answered alike, and something else is refused', async () => {
    await using given = await running()
    await given.resize()

    expect((await given.resize()).instance).toMatchObject({ attempt: 2, task_state: 'resize_prep' })
    await expect(given.migrate()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    expect(await given.moves()).toEqual(['accepted: h1 to null'])
  })

  it('a host that cannot take it is passed over, and its guest has noticed nothing', async () => {
    await using given = await running()
    given.prepares.set('h2', async () => {
      throw new HostCapabilityMissing('no SEV here')
    })
    await given.migrate()

    await given.step(2)
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: 'resize_prep', host: 'h1', attempt: 3 })
    expect(await given.told()).toEqual([
      'continue_build → conductor',
      'instance.resize.error → versioned_notifications.error',
      'note_build → scheduler',
      'continue_build → conductor',
    ])
    await given.step(3)
    expect(given.asked.at(-1)).toMatchObject({ ignore_hosts: ['h1', 'h2'], attempt: 3 })
    expect(await given.told()).toContain('resize_instance → compute.h1')
    expect(await given.attempts(given.uuid)).toMatchObject([{}, { host: 'h2', outcome: 'failed' }, { host: 'h3' }])
  })

  it('a destination that does not see the disks is passed over, too, by the word of the source', async () => {
    await using given = await running()
    await given.migrate()
    await given.step(2)

    await given.acted(1, { result: 'failed', fault: NOT_SHARED, guest: 'running' })

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: 'resize_prep', host: 'h1', attempt: 3 })
    await given.step(3)
    await given.acted(2, { result: 'failed', fault: NOT_SHARED, guest: 'running' })
    await given.step(4)
    expect(await given.now()).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h1',
      attempt: 1,
      fault: { code: 'NO_VALID_HOST' },
    })
    expect(await given.moves()).toEqual(['failed: h1 to h3'])
  })

  it('without a host it stays as it is, with the reason, and those who watch hear Nova’s event', async () => {
    await using given = await running()
    given.fill()
    await given.resize()
    await given.sent()

    await given.step(2)

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, attempt: 1, flavor: sevFlavor })
    expect(await given.told()).toEqual([
      'revert_move → scheduler',
      'compute_task.migrate_server.error → versioned_notifications.error',
    ])
  })

  it('what fails at the destination is undone at the source, which starts its guest again', async () => {
    await using given = await running()
    await given.resize()
    await given.step(2)
    await given.acted(1, { result: 'done', disks: DISKS })
    await given.sent()

    await given.built('h2', 2, { result: 'failed', fault: FAULT, retryable: true })
    expect(await given.now()).toMatchObject({
      task_state: 'resize_reverting',
      host: 'h1',
      attempt: 1,
      flavor: sevFlavor,
    })
    expect(await given.told()).toEqual([
      'instance.resize.error → versioned_notifications.error',
      'note_build → scheduler',
      'revert_move → scheduler',
      info('instance.resize_revert.start'),
      'finish_revert_resize → compute.h1',
    ])

    await given.acted(2, { result: 'done' })
    const fault = { code: 'SPAWN_FAILED', message: expect.stringContaining('the instance is on h1 as before') }
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, fault })
    expect(await given.moves()).toEqual(['failed: h1 to h2'])
  })

  it('a source whose guest is off after it failed gets it back; one whose guest runs on is left alone', async () => {
    await using given = await running()
    await given.migrate()
    await given.step(2)
    await given.acted(1, { result: 'failed', fault: FAULT, guest: 'shutoff' })
    expect(await given.now()).toMatchObject({ task_state: 'resize_reverting', attempt: 1 })
    await given.acted(2, { result: 'done' })

    await given.migrate()
    await given.step(3)
    await given.acted(3, { result: 'failed', fault: FAULT, guest: 'running' })
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, attempt: 1, host: 'h1' })
    expect(await given.told()).toContain('instance.resize.error → versioned_notifications.error')
  })

  it('a stopped instance stays off at both ends', async () => {
    await using given = await running()
    const ofInstance = { instance_uuid: given.uuid }
    await given.endpoint.stopInstance({ ...ofInstance, clean_shutdown: true }, given.request)
    await given.acted(1, { result: 'done' })
    await given.migrate()
    await given.step(2)
    await given.sent()
    await given.acted(2, { result: 'done', disks: DISKS })
    expect((await given.sent()).at(-1)).toMatchObject({ what: 'finish_resize', args: { power_on: false } })

    await given.built('h2', 2)
    await given.confirm()
    await given.gone('h1', 1)

    expect(await given.now()).toMatchObject({ vm_state: 'stopped', task_state: null, host: 'h2' })
  })

  it('deleted while it waits for a decision, both ends remove what they have, and each gives it back by itself', async () => {
    await using given = await running()
    await given.resized()

    await given.remove()

    expect(await given.told()).toEqual([
      'terminate_instance → compute.h1',
      'finish_move → scheduler',
      info('instance.delete.start'),
      'terminate_instance → compute.h2',
    ])
    await given.endpoint.reportTerminated(
      { instance_uuid: given.uuid, attempt: 2, host: 'h2', terminated_at: LAUNCHED },
      given.request,
    )
    await given.gone('h1', 1)
    expect(await given.told()).toEqual([
      info('instance.delete.end'),
      'release_allocations → scheduler',
      'confirm_move → scheduler',
    ])
    expect(await given.now()).toMatchObject({ vm_state: 'deleted' })
  })

  it('deleted before it has left, it is deleted where it is', async () => {
    await using given = await running()
    await given.migrate()
    await given.step(2)
    await given.sent()

    await given.remove()

    expect(await given.now()).toMatchObject({ task_state: 'deleting', host: 'h1', attempt: 1 })
    expect(await given.told()).toEqual([
      'instance.resize.error → versioned_notifications.error',
      'revert_move → scheduler',
      info('instance.delete.start'),
      'terminate_instance → compute.h1',
    ])
    // What the source says late of its part is of no concern any more.
    await given.acted(1, { result: 'done', disks: DISKS })
    expect(await given.now()).toMatchObject({ task_state: 'deleting', host: 'h1' })
  })

  it('what waits is said again; a destination that says nothing has to let go before the source starts anything', async () => {
    let now = new Date('2026-01-01T00:00:00Z')
    await using given = await running({ now: () => now })
    const later = async () => {
      now = new Date(now.getTime() + 100_000)
      await reviveOverdue(given.ports)
      return await given.told()
    }
    await given.resize()
    await given.sent()
    expect(await later()).toEqual(['continue_build → conductor'])
    await given.step(2)
    await given.sent()
    expect(await later()).toEqual(['resize_instance → compute.h1'])
    await given.acted(1, { result: 'done', disks: DISKS })
    await given.sent()
    await resendUnfinished(given.ports)
    expect(await given.told()).toEqual(['finish_resize → compute.h2'])
    expect(await later()).toEqual([
      'instance.resize.error → versioned_notifications.error',
      'terminate_instance → compute.h2',
      'continue_build → conductor',
    ])
    await given.step(2)
    expect(await given.told()).toEqual([])

    given.fenced.add('h2')
    await given.step(2)

    expect(await given.told()).toEqual([
      'revert_move → scheduler',
      info('instance.resize_revert.start'),
      'finish_revert_resize → compute.h1',
    ])
    await given.acted(2, { result: 'done' })
    expect(await given.now()).toMatchObject({ vm_state: 'active', host: 'h1', fault: { code: 'BUILD_INTERRUPTED' } })
  })

  it('a destination that was fenced hears, when it is back, that its guest is to go, until it says that it has none', async () => {
    await using given = await running()
    await given.resized()
    await given.revert()
    given.fenced.add('h2')
    await given.step(2)
    const departures = async (host: string) =>
      (await given.endpoint.listDepartures({ host, limit: 100 }, given.request)).departures

    const [departure, ...others] = await departures('h2')

    expect([departure?.instance, others]).toEqual([
      expect.objectContaining({ uuid: given.uuid, host: 'h2', attempt: 2 }),
      [],
    ])
    expect(await departures('h1')).toEqual([])
    await given.gone('h2', 2)
    expect(await departures('h2')).toEqual([])
    expect(await given.now()).toMatchObject({
      vm_state: 'active',
      task_state: 'resize_reverting',
      host: 'h1',
      attempt: 1,
    })
  })

  it('a source that never says that it has let go does not keep an instance from being active', async () => {
    let now = new Date('2026-01-01T00:00:00Z')
    await using given = await running({ now: () => now })
    await given.resized()
    await given.confirm()
    await given.sent()

    now = new Date(now.getTime() + 100_000)
    await reviveOverdue(given.ports)

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
    expect(await given.told()).toEqual([
      info('instance.resize_confirm.end'),
      'terminate_instance → compute.h1',
      'finish_move → scheduler',
    ])
    expect(await given.moves()).toEqual(['done: h1 to h2'])
    await given.gone('h1', 1)
    expect(await given.moves()).toEqual(['completed: h1 to h2'])
  })

  it('a host that died while it let go does not keep its instance: that is evacuated', async () => {
    await using given = await running()
    await given.migrate()
    await given.step(2)
    given.states.set('h1', 'down')

    const { instance } = await given.endpoint.evacuateInstance({ instance_uuid: given.uuid }, given.request)

    expect(instance).toMatchObject({ task_state: 'rebuilding', host: null, attempt: 3 })
    expect(await given.moves()).toEqual(['failed: h1 to h2', 'accepted: h1 to null'])
  })
})
