import { describe, expect, it } from 'vitest'
import { resendUnfinished } from '../../src/conductor/resend.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { InvalidSharedStorage, MessagingTimeout, NoValidHost } from '../../src/errors.ts'
import type { RequestSpec } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { plainFlavor, sevFlavor } from '../support/requests.ts'
import { aConductor, aSelection, migrateData } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:00:00.000Z'
const FAULT = { code: 'MIGRATION_ERROR', message: 'it took too long', details: {}, created_at: LAUNCHED }
const REFUSED = { ...FAULT, code: 'OPERATION_NOT_SUPPORTED_FOR_SEV', message: 'SEV: Migration is not implemented' }
const withCode = (code: string) => expect.objectContaining({ code })
const info = (event: string) => `instance.${event} → versioned_notifications.info`
const error = (event: string) => `instance.${event}.error → versioned_notifications.error`
const notSeen = async () => {
  throw new InvalidSharedStorage('not shared')
}

describe.each(databaseEngines)('live migration on $name', (engine) => {
  /** An instance that runs on h1; the scheduler finds h2, then h3, and what it was asked is kept. */
  async function running(flavor: object = plainFlavor, changes: Parameters<typeof aConductor>[2] = {}) {
    const asked: RequestSpec[] = []
    const conductor = await aConductor(
      engine,
      async (spec) => {
        const slots = spec.mem_encryption === null ? { allocations: [], mem_encryption: null } : {}
        if (spec.migration === undefined) return { ...aSelection('h1', spec.attempt), ...slots }
        asked.push(spec)
        const host = ['h2', 'h3'].find((each) => !spec.ignore_hosts.includes(each))
        if (host === undefined) throw new NoValidHost('no valid host')
        return { ...aSelection(host, spec.attempt), ...slots }
      },
      changes,
    )
    const { endpoint, request, states } = conductor
    for (const host of ['h1', 'h2', 'h3']) states.set(host, 'up')
    const { uuid } = await conductor.accept(flavor)
    const ofInstance = { instance_uuid: uuid }
    const step = (attempt: number) => endpoint.continueBuild({ ...ofInstance, attempt }, request)
    const reported = (host: string, attempt: number, outcome: object) =>
      endpoint.reportBuild({ ...ofInstance, host, attempt, outcome } as never, request)
    const acted = (outcome: object, number = 1) =>
      endpoint.reportAction({ ...ofInstance, host: 'h1', attempt: 1, number, outcome } as never, request)
    await step(1)
    await reported('h1', 1, { result: 'active', launched_at: LAUNCHED })
    await conductor.sent()
    const migrate = (host?: string) => endpoint.liveMigrateInstance({ ...ofInstance, ...(host && { host }) }, request)
    return {
      ...conductor,
      uuid,
      asked,
      migrate,
      step,
      acted,
      /** The destination says that the guest runs there, or that it does not. */
      came: (attempt = 2, host = 'h2') => reported(host, attempt, { result: 'active', launched_at: LAUNCHED }),
      missed: () => reported('h2', 2, { result: 'failed', fault: FAULT, retryable: false }),
      gone: async (host: string, attempt: number) => {
        const { migrations = [] } = await endpoint.explainInstance(ofInstance, request)
        const migration_uuid = migrations.at(-1)?.uuid as string
        const report = { ...ofInstance, host, attempt, terminated_at: LAUNCHED, migration_uuid }
        await endpoint.reportTerminated(report, request)
      },
      removed: (host: string, attempt: number) =>
        endpoint.reportTerminated({ ...ofInstance, host, attempt, terminated_at: LAUNCHED }, request),
      /** Up to the source, which has been told to send the guest to h2 as try 2. */
      async going() {
        await migrate()
        await step(2)
        await conductor.sent()
      },
      abort: () => endpoint.liveMigrationAbort(ofInstance, request),
      force: () => endpoint.liveMigrationForceComplete(ofInstance, request),
      remove: () => endpoint.deleteInstance(ofInstance, request),
      evacuate: () => endpoint.evacuateInstance(ofInstance, request),
      now: () => conductor.instance(uuid),
      told: async () => (await conductor.sent()).map(({ to, what }) => `${what} → ${to.replace('sevbus-', '')}`),
      async moves() {
        const { migrations = [] } = await endpoint.explainInstance(ofInstance, request)
        return migrations.map(({ status, source_host, dest_host }) => `${status}: ${source_host} to ${dest_host}`)
      },
    }
  }

  it('asks both hosts, has the destination make ready, and only then has the source send the guest, which stays what it is', async () => {
    await using given = await running()
    const { launched_at } = await given.now()

    const { instance } = await given.migrate()
    expect(instance).toMatchObject({ vm_state: 'active', task_state: 'migrating_prep', host: 'h1', attempt: 2 })
    expect(await given.told()).toEqual(['continue_build → conductor'])

    await given.step(2)
    expect(await given.now()).toMatchObject({ task_state: 'migrating', host: 'h1' })
    const sent = await given.sent()
    expect(sent.map(({ what }) => what)).toEqual([
      'instance.live_migration_pre.start',
      'instance.live_migration_pre.end',
      'live_migration',
    ])
    expect(sent[2]).toMatchObject({
      to: 'sevbus-compute.h1',
      args: { dest: 'h2', migrate_data: migrateData('h2'), instance: { attempt: 1, host: 'h1' } },
    })

    await given.acted({ result: 'done' })
    expect(await given.now()).toMatchObject({ task_state: 'migrating_finish', host: 'h2' })
    expect(await given.told()).toEqual([
      info('live_migration_post.start'),
      info('live_migration_post_dest.start'),
      'post_live_migration_at_destination → compute.h2',
    ])

    await given.came()
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2', launched_at })
    expect(await given.told()).toEqual([
      info('live_migration_post_dest.end'),
      info('live_migration_post.end'),
      'note_build → scheduler',
      'terminate_instance → compute.h1',
      'finish_move → scheduler',
    ])
    await given.gone('h1', 1)
    expect(await given.told()).toEqual(['confirm_move → scheduler'])
    expect(await given.moves()).toEqual(['completed: h1 to h2'])
    expect(given.asked[0]).toMatchObject({ ignore_hosts: ['h1'], migration: { type: 'live-migration' } })
  })

  it('is refused for an encrypted guest before anything changes, whatever it does, with the model that it has', async () => {
    await using given = await running(sevFlavor)
    const before = await given.now()

    await expect(given.migrate()).rejects.toMatchObject({
      code: 'OPERATION_NOT_SUPPORTED_FOR_SEV',
      message: expect.stringMatching(/it has .*SEV/),
      details: { operation: 'live-migration', model: 'amd-sev' },
    })
    await given.endpoint.stopInstance({ instance_uuid: given.uuid, clean_shutdown: true } as never, given.request)
    await expect(given.migrate('nowhere')).rejects.toThrow(withCode('OPERATION_NOT_SUPPORTED_FOR_SEV'))

    expect(await given.now()).toMatchObject({ host: before.host, attempt: before.attempt })
    expect(await given.moves()).toEqual([])
  })

  it('is for what runs and rests, and goes where it is told, or nowhere', async () => {
    await using given = await running()

    await expect(given.migrate('h1')).rejects.toThrow(withCode('INVALID_ARGUMENTS'))
    await expect(given.migrate('nowhere')).rejects.toThrow(withCode('COMPUTE_HOST_NOT_FOUND'))
    await given.migrate('h3')
    await given.step(2)
    expect(given.asked[0]).toMatchObject({ force_hosts: ['h3'] })
    await expect(given.migrate('h2')).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
  })

  it('asked twice, and continued twice, is done once', async () => {
    await using given = await running()

    await given.migrate()
    const { instance } = await given.migrate()
    await given.step(2)
    await given.step(2)

    expect(instance.attempt).toBe(2)
    const told = await given.told()
    expect(told.filter((each) => each === 'live_migration → compute.h1')).toHaveLength(1)
    await given.acted({ result: 'done' })
    await given.acted({ result: 'done' })
    await given.came()
    await given.came()
    await given.gone('h1', 1)
    await given.gone('h1', 1)
    expect(
      (await given.told()).filter((each) => each.startsWith('instance.live_migration_post_dest.end')),
    ).toHaveLength(1)
    expect(await given.moves()).toEqual(['completed: h1 to h2'])
  })

  it('passes over a destination that does not see the disks, or has not made ready, and has what it made removed', async () => {
    await using given = await running()
    given.lives.set('destination h2', notSeen)
    given.lives.set('pre h3', async () => {
      throw new MessagingTimeout('no answer')
    })

    await given.migrate()
    await given.step(2)
    expect(await given.told()).toContain('rollback_live_migration_at_destination → compute.h2')
    expect(await given.now()).toMatchObject({ task_state: 'migrating_prep', attempt: 3, host: 'h1' })
    await given.step(3)
    expect(await given.told()).toContain('rollback_live_migration_at_destination → compute.h3')
    await given.step(4)

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', attempt: 1 })
    expect((await given.now()).fault?.message).toContain('not shared')
    expect(await given.told()).toEqual(
      expect.arrayContaining([
        'revert_move → scheduler',
        'compute_task.migrate_server.error → versioned_notifications.error',
      ]),
    )
  })

  it('ends where it is when its guest cannot leave: no other destination would help', async () => {
    await using given = await running()
    given.lives.set('source h1', notSeen)

    await given.migrate()
    await given.step(2)

    expect(await given.now()).toMatchObject({ task_state: null, host: 'h1', attempt: 1 })
    expect(given.asked).toHaveLength(1)
  })

  it.each([FAULT, REFUSED])(
    'stays where it runs when it has not left ($code), and what the destination made is its own until that is gone',
    async (fault) => {
      await using given = await running()
      await given.going()

      await given.acted({ result: 'failed', fault, guest: 'running' })
      expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: 'migrating_reverting', host: 'h1' })
      expect(await given.told()).toEqual([
        info('live_migration_rollback.start'),
        info('live_migration_rollback_dest.start'),
        'rollback_live_migration_at_destination → compute.h2',
        'continue_build → conductor',
      ])

      await given.gone('h2', 2)
      expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', attempt: 1 })
      expect((await given.now()).fault).toMatchObject({ code: fault.code })
      expect(await given.told()).toEqual([
        info('live_migration_rollback.end'),
        info('live_migration_rollback_dest.end'),
        'revert_move → scheduler',
      ])
    },
  )

  it('does not wait for a destination that is fenced, and has it asked when it comes back', async () => {
    await using given = await running()
    await given.going()
    await given.acted({ result: 'failed', fault: FAULT, guest: 'running' })

    await given.step(2)
    expect(await given.now()).toMatchObject({ task_state: 'migrating_reverting' })
    given.fenced.add('h2')
    given.states.set('h2', 'down')
    await given.step(2)

    expect(await given.now()).toMatchObject({ task_state: null, host: 'h1', attempt: 1 })
    const { departures } = await given.endpoint.listDepartures({ host: 'h2', limit: 10 }, given.request)
    expect(departures).toMatchObject([{ instance: { uuid: given.uuid, attempt: 2, host: 'h2' } }])
  })

  it.each(['shutoff', 'missing', 'paused'])(
    'lets the destination say where its guest is when that is %s at the source, and takes either answer',
    async (guest) => {
      await using came = await running()
      await came.going()
      await came.acted({ result: 'failed', fault: FAULT, guest })
      expect(await came.now()).toMatchObject({ task_state: 'migrating_finish', host: 'h2' })
      await came.came()
      expect(await came.now()).toMatchObject({ task_state: null, host: 'h2', fault: null })

      await using missed = await running()
      await missed.going()
      await missed.acted({ result: 'failed', fault: FAULT, guest })
      await missed.missed()
      expect(await missed.now()).toMatchObject({ task_state: 'migrating_reverting', host: 'h1', attempt: 1 })
      expect((await missed.told()).slice(3)).toEqual([
        ...[error('live_migration_post'), error('live_migration_post_dest')],
        ...[info('live_migration_rollback_dest.start'), info('live_migration_rollback_dest.end')],
        ...['revert_move → scheduler', info('live_migration_rollback.start'), 'rollback_live_migration → compute.h1'],
      ])
      await missed.acted({ result: 'done' }, 2)
      expect(await missed.now()).toMatchObject({ vm_state: 'active', task_state: null, fault: { code: FAULT.code } })
      expect(await missed.told()).toEqual([info('live_migration_rollback.end')])
    },
  )

  it('asks again, and never gives up, what each stage waits for', async () => {
    await using given = await running(plainFlavor, { buildTimeoutMs: 0 })
    const again = async () => {
      await given.sent()
      await resendUnfinished(given.ports)
      const resent = await given.told()
      await reviveOverdue(given.ports)
      return [...new Set([...resent, ...(await given.told())])]
    }

    await given.migrate()
    expect(await again()).toEqual(['continue_build → conductor'])
    await given.step(2)
    expect(await again()).toEqual(['live_migration → compute.h1'])
    await given.acted({ result: 'done' })
    expect(await again()).toEqual([
      'post_live_migration_at_destination → compute.h2',
      // To see whether that is fenced.
      'continue_build → conductor',
    ])
    await given.came()
    expect(await again()).toEqual(['terminate_instance → compute.h1'])
    await given.gone('h1', 1)
    expect(await again()).toEqual([])
  })

  it('is called off by a deletion: before the guest is sent where it is, and later at the destination, with the source told', async () => {
    await using early = await running()
    early.lives.set('pre h2', async () => {
      await early.remove()
    })
    await early.migrate()
    await early.step(2)
    expect(await early.now()).toMatchObject({ task_state: 'deleting', host: 'h1', attempt: 1 })
    expect(await early.told()).toEqual(
      expect.arrayContaining([
        'rollback_live_migration_at_destination → compute.h2',
        'revert_move → scheduler',
        'terminate_instance → compute.h1',
      ]),
    )

    for (const until of ['sent', 'gone', 'failed'] as const) {
      await using late = await running()
      await late.going()
      if (until === 'gone') await late.acted({ result: 'done' })
      if (until === 'failed') await late.acted({ result: 'failed', fault: FAULT, guest: 'running' })
      await late.sent()
      await late.remove()
      expect(await late.now()).toMatchObject({ task_state: 'deleting', host: 'h2', attempt: 2 })
      const over = { sent: [], gone: ['post', 'post_dest'], failed: ['rollback', 'rollback_dest'] }[until]
      expect(await late.told()).toEqual([
        ...over.map((each) => error(`live_migration_${each}`)),
        'terminate_instance → compute.h1',
        'finish_move → scheduler',
        info('delete.start'),
        'terminate_instance → compute.h2',
      ])
      await late.acted({ result: 'done' })
      await late.came()
      await late.gone('h2', 2)
      await late.removed('h2', 2)
      await late.gone('h1', 1)
      expect(await late.now()).toMatchObject({ vm_state: 'deleted', host: null })
      expect(await late.moves()).toEqual(['completed: h1 to h2'])
    }
  })

  it('is given up at once before its source is told, and nothing comes of what is under way', async () => {
    await using given = await running()
    await given.migrate()
    await given.sent()

    const { instance } = await given.abort()

    expect(instance).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', attempt: 1, fault: null })
    expect(await given.told()).toEqual([
      ...[info('live_migration_abort.start'), info('live_migration_abort.end'), 'revert_move → scheduler'],
    ])
    await given.step(2)
    expect(await given.now()).toMatchObject({ task_state: null, attempt: 1 })
  })

  it('is given up by its source, which says how it ended: it stays, or had just left', async () => {
    for (const isLeft of [false, true]) {
      await using given = await running()
      await given.going()

      for (let n = 0; n < 2; n++) await given.abort()
      expect(await given.now()).toMatchObject({ task_state: 'migrating', host: 'h1' })
      const sent = await given.sent()
      expect(sent.map(({ what }) => what)).toEqual(['instance.live_migration_abort.start', 'live_migration_abort'])
      expect(sent[1]).toMatchObject({ to: 'sevbus-compute.h1', args: { number: 1, instance: { attempt: 1 } } })
      await expect(given.force()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))

      if (isLeft) {
        await given.acted({ result: 'done' })
        expect((await given.told())[0]).toBe(error('live_migration_abort'))
        await expect(given.abort()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
        await given.came()
        expect(await given.now()).toMatchObject({ task_state: null, host: 'h2' })
        continue
      }
      await given.acted({ result: 'failed', fault: FAULT, guest: 'running' })
      expect((await given.told()).slice(0, 2)).toEqual([
        ...[info('live_migration_abort.end'), info('live_migration_rollback.start')],
      ])
      expect((await given.abort()).instance).toMatchObject({ task_state: 'migrating_reverting' })
      await given.gone('h2', 2)
      expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', fault: null })
      expect(await given.moves()).toEqual(['reverted: h1 to h2'])
      await expect(given.abort()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    }
  })

  it('is forced to its end, or given up after all; what is asked is said again, and over when it is deleted', async () => {
    await using given = await running(plainFlavor, { buildTimeoutMs: 0 })
    await expect(given.force()).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    await given.going()
    await given.force()
    expect(await given.told()).toEqual([
      ...[info('live_migration_force_complete.start'), 'live_migration_force_complete → compute.h1'],
    ])
    await given.abort()
    await given.sent()
    await reviveOverdue(given.ports)
    expect(await given.told()).toEqual(
      ['live_migration', 'live_migration_force_complete', 'live_migration_abort'].map((what) => `${what} → compute.h1`),
    )

    await given.remove()

    expect((await given.told()).slice(0, 2)).toEqual([
      ...[error('live_migration_force_complete'), error('live_migration_abort')],
    ])
    await using forced = await running()
    await forced.going()
    await forced.force()
    await forced.sent()
    await forced.acted({ result: 'done' })
    expect((await forced.told())[0]).toBe(info('live_migration_force_complete.end'))
  })

  it('whose source dies is looked for at the destination before it is rebuilt anywhere', async () => {
    await using given = await running()
    await given.going()
    given.states.set('h1', 'down')

    const { instance } = await given.evacuate()
    expect(instance).toMatchObject({ task_state: 'migrating_finish', host: 'h2', attempt: 2 })
    await given.came()

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
    const { departures } = await given.endpoint.listDepartures({ host: 'h1', limit: 10 }, given.request)
    expect(departures).toMatchObject([{ instance: { uuid: given.uuid, attempt: 1 } }])
  })

  it('whose source dies and that has not come is at its source, from where it is evacuated', async () => {
    await using given = await running()
    await given.going()
    given.states.set('h1', 'down')
    await given.evacuate()
    await given.missed()

    const { instance } = await given.evacuate()

    expect(instance).toMatchObject({ task_state: 'rebuilding', host: null, attempt: 3 })
    expect(await given.moves()).toEqual(['failed: h1 to h2', 'accepted: h1 to null'])
  })

  it('whose destination is silent before it has spoken is built nowhere else while that may run it', async () => {
    await using given = await running()
    await given.going()
    await given.acted({ result: 'done' })
    await given.told()
    given.states.set('h2', 'down')

    await expect(given.evacuate()).rejects.toMatchObject({
      code: 'INSTANCE_INVALID_STATE',
      details: { host: 'h2', fix: expect.stringContaining('sevbus host set h2 --fenced') },
    })
    await given.step(2)

    expect(await given.told()).toEqual([])
    await given.came()
    expect(await given.now()).toMatchObject({ task_state: null, host: 'h2', attempt: 2 })
  })

  it.each(['evacuation', 'watchdog'])(
    'whose destination is fenced before it has spoken is started at its source (by the %s), and that host hears of it when it is back',
    async (who) => {
      let now = new Date(LAUNCHED)
      await using given = await running(plainFlavor, { now: () => now })
      await given.going()
      await given.acted({ result: 'done' })
      await given.sent()
      given.states.set('h2', 'down')
      given.fenced.add('h2')

      if (who === 'evacuation') await given.evacuate()
      else {
        now = new Date(now.getTime() + 3_600_000)
        await reviveOverdue(given.ports)
        expect(await given.told()).toContain('continue_build → conductor')
        await given.step(2)
      }

      expect(await given.now()).toMatchObject({ task_state: 'migrating_reverting', host: 'h1', attempt: 1 })
      expect(await given.told()).toContain('rollback_live_migration → compute.h1')
      await given.acted({ result: 'done' }, 2)
      expect(await given.now()).toMatchObject({
        ...{ vm_state: 'active', task_state: null },
        fault: { code: 'MIGRATION_ERROR', message: expect.stringContaining('host h2 was fenced') },
      })
      expect(await given.moves()).toEqual(['failed: h1 to h2'])
      const { departures } = await given.endpoint.listDepartures({ host: 'h2', limit: 10 }, given.request)
      expect(departures).toMatchObject([{ instance: { uuid: given.uuid, attempt: 2, host: 'h2' } }])
    },
  )

  it('whose source dies over its start there is evacuated; and come back to, it is started as what it was', async () => {
    await using given = await running()
    await given.going()
    await given.acted({ result: 'done' })
    await given.missed()
    given.states.set('h1', 'down')
    await given.sent()

    await given.evacuate()
    expect((await given.told()).slice(0, 2)).toEqual([
      ...[error('live_migration_rollback'), 'instance.evacuate → versioned_notifications.info'],
    ])
    given.states.set('h1', 'up')
    await given.step(3)

    expect(await given.now()).toMatchObject({ task_state: 'migrating_reverting', host: 'h1', attempt: 1 })
    expect(await given.told()).toContain('rollback_live_migration → compute.h1')
  })
})
