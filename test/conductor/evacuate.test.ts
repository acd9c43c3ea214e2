import { describe, expect, it } from 'vitest'
import { resendUnfinished } from '../../src/conductor/resend.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { NoValidHost, StaleAttempt } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:00:00.000Z'
const TERMINATED = '2026-01-02T00:00:00.000Z'
const NOT_THERE = '99999999-0000-4000-8000-000000000009'
const NO_HOST_REPORT = {
  hosts_considered: 1,
  rejected: [{ filter: 'MemEncryptionSlots', hosts: 1 }],
  rejections: [{ host: 'h2', filter: 'MemEncryptionSlots', reason: '15 of 15 SEV slots used' }],
  ranking: [],
}
const ES_ELSE_SEV = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es,amd-sev' })

function active(uuid: string, host: string, attempt: number) {
  return {
    instance_uuid: uuid,
    host,
    attempt,
    outcome: { result: 'active' as const, launched_at: LAUNCHED },
  }
}

function failed(uuid: string, host: string, attempt: number, retryable = true) {
  const fault = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LAUNCHED }
  return { instance_uuid: uuid, host, attempt, outcome: { result: 'failed' as const, fault, retryable } }
}

describe.each(databaseEngines)('evacuation on $name', (engine) => {
  /** An instance that runs on h1, which is dead since; the scheduler answers as told, and what it was asked is kept. */
  async function onDeadHost(changes: Parameters<typeof aConductor>[2] = {}, flavor?: ReturnType<typeof aFlavor>) {
    const asked: RequestSpec[] = []
    let answer = (spec: RequestSpec): Selection | Promise<Selection> => aSelection('h2', spec.attempt)
    const conductor = await aConductor(
      engine,
      async (spec) => {
        asked.push(spec)
        return answer(spec)
      },
      changes,
    )
    const { endpoint, request, states } = conductor
    states.set('h1', 'up').set('h2', 'up').set('h3', 'up')
    answer = (spec) => ({
      ...aSelection('h1', spec.attempt),
      ...(flavor && { mem_encryption: { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } }),
    })
    const args = { name: 'web', flavor, image: anImage(), count: 1, ip_addresses: [] }
    const [accepted] = flavor
      ? (await endpoint.buildInstances({ ...args, flavor }, request)).instances
      : [await conductor.accept()]
    const { uuid } = accepted as Instance
    await endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, request)
    await endpoint.reportBuild(active(uuid, 'h1', 1), request)
    states.set('h1', 'down')
    answer = (spec) => aSelection('h2', spec.attempt)
    asked.length = 0
    await conductor.sent()
    const at = async (attempt: number) => endpoint.continueBuild({ instance_uuid: uuid, attempt }, request)
    return {
      ...conductor,
      uuid,
      asked,
      answers: (next: typeof answer) => {
        answer = next
      },
      evacuate: async (host?: string) =>
        (await endpoint.evacuateInstance({ instance_uuid: uuid, ...(host && { host }) }, request)).instance as Instance,
      step: at,
      report: async (outcome: ReturnType<typeof active> | ReturnType<typeof failed>) =>
        endpoint.reportBuild(outcome, request),
      departed: async (host = 'h1') => {
        const { departures } = await endpoint.listDepartures({ host, limit: 100 }, request)
        return departures as { migration_uuid: string; instance: Instance }[]
      },
      removed: (migration_uuid: string, host = 'h1', attempt = 1) =>
        endpoint.reportTerminated(
          { instance_uuid: uuid, attempt, host, terminated_at: TERMINATED, migration_uuid },
          request,
        ),
      explain: () => endpoint.explainInstance({ instance_uuid: uuid }, request),
      /** The names of what was sent, and where to. */
      told: async () => (await conductor.sent()).map(({ to, what }) => `${what} → ${to}`),
      async migrations() {
        const { migrations = [] } = await endpoint.explainInstance({ instance_uuid: uuid }, request)
        return migrations.map(({ status, source_host, dest_host }) => `${status}: ${source_host} to ${dest_host}`)
      },
    }
  }

  it('stores the move with the message that begins it, and tells Nova’s event; the instance stays active', async () => {
    await using given = await onDeadHost()

    const leaving = await given.evacuate()

    expect(leaving).toMatchObject({ vm_state: 'active', task_state: 'rebuilding', host: null, attempt: 2 })
    expect(await given.instance(given.uuid)).toEqual(leaving)
    expect(await given.told()).toEqual([
      'instance.evacuate → versioned_notifications.info',
      'continue_build → sevbus-conductor',
    ])
    expect(await given.migrations()).toEqual(['accepted: h1 to null'])
  })

  it('asks for what the launch asked for, without the host that it leaves, with a migration that holds the source', async () => {
    await using given = await onDeadHost()
    await given.evacuate()

    await given.step(2)

    expect(given.asked).toHaveLength(1)
    expect(given.asked[0]).toMatchObject({
      instance_uuid: given.uuid,
      attempt: 2,
      mem_encryption: { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' },
      ignore_hosts: ['h1'],
      force_hosts: [],
      migration: { type: 'evacuation' },
    })
    expect(given.asked[0]?.flavor.extra_specs).toMatchObject({
      'resources:MEM_ENCRYPTION_CONTEXT': '1',
      'trait:HW_CPU_X86_AMD_SEV': 'required',
    })
    expect(await given.instance(given.uuid)).toMatchObject({
      vm_state: 'active',
      task_state: 'rebuild_spawning',
      host: 'h2',
    })
    const wanted = (host: string, attempt: number) =>
      given.endpoint.checkBuild({ instance_uuid: given.uuid, host, attempt }, given.request)
    expect([await wanted('h2', 2), await wanted('h1', 1)]).toEqual([{ wanted: true }, { wanted: false }])
  })

  it('ends the rescue of an instance that is rescued, and leaves it rescued where it cannot be', async () => {
    await using given = await onDeadHost()
    const { endpoint, request, uuid } = given
    const ofAction = { instance_uuid: uuid, host: 'h1', attempt: 1, number: 1, outcome: { result: 'done' } } as const
    await endpoint.rescueInstance({ instance_uuid: uuid, image: anImage() }, request)
    await endpoint.reportAction(ofAction, request)
    expect(await given.instance(uuid)).toMatchObject({ vm_state: 'rescued', task_state: null })
    given.answers(async () => {
      throw new NoValidHost('no valid host')
    })

    await given.evacuate()
    await given.step(2)
    expect(await given.instance(uuid)).toMatchObject({ vm_state: 'rescued', task_state: null, host: 'h1' })
    given.answers(async (spec) => aSelection('h2', spec.attempt))
    await given.evacuate()
    await given.step(3)
    await given.report(active(uuid, 'h2', 3))
    await given.step(3)

    expect(await given.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
  })

  it('has one that was paused run where it is built: what it was about is lost with its host', async () => {
    await using given = await onDeadHost()
    const { endpoint, request, uuid } = given
    await endpoint.pauseInstance({ instance_uuid: uuid }, request)
    const ofAction = { instance_uuid: uuid, host: 'h1', attempt: 1, number: 1, outcome: { result: 'done' } } as const
    await endpoint.reportAction(ofAction, request)
    expect(await given.instance(uuid)).toMatchObject({ vm_state: 'paused', task_state: null })

    await given.evacuate()
    await given.step(2)
    await given.report(active(uuid, 'h2', 2))
    await given.step(2)

    expect(await given.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
  })

  it('goes only where it is told to', async () => {
    await using given = await onDeadHost()
    await given.evacuate('h3')

    await given.step(2)

    expect(given.asked[0]?.force_hosts).toEqual(['h3'])
  })

  it('ends at the destination while the source is dead: charged for there, the source held until it is fenced or back', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    await given.sent()

    await given.report(active(given.uuid, 'h2', 2))
    // Not yet: is the source still dead?
    expect(await given.instance(given.uuid)).toMatchObject({ task_state: 'rebuild_spawning' })
    expect(await given.told()).toEqual(['terminate_instance → sevbus-compute.h1', 'continue_build → sevbus-conductor'])
    await given.step(2)

    expect(await given.instance(given.uuid)).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h2',
      attempt: 2,
      launched_at: LAUNCHED,
      fault: null,
    })
    expect(await given.told()).toEqual([
      'instance.rebuild.end → versioned_notifications.info',
      'slot.released → versioned_notifications.info',
      'note_build → sevbus-scheduler',
      'finish_move → sevbus-scheduler',
    ])
    expect(await given.attempts(given.uuid)).toEqual([
      { attempt: 1, host: 'h1', outcome: 'evacuated' },
      { attempt: 2, host: 'h2', outcome: 'active' },
    ])
    expect(await given.migrations()).toEqual(['done: h1 to h2'])
  })

  it('tells the host that comes back what to remove, as it knows it, and lets go of the slot when that is done, once', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    await given.report(active(given.uuid, 'h2', 2))
    await given.step(2)
    await given.sent()

    const departures = await given.departed()
    expect(departures).toMatchObject([{ instance: { uuid: given.uuid, host: 'h1', attempt: 1 } }])
    expect(await given.departed('h2')).toEqual([])
    const migration = departures[0]?.migration_uuid as string
    await given.removed(migration, 'h2')
    expect(await given.told()).toEqual([])
    await given.removed(migration)
    await given.removed(migration)

    expect(await given.told()).toEqual(['confirm_move → sevbus-scheduler'])
    expect(await given.migrations()).toEqual(['completed: h1 to h2'])
    expect(await given.departed()).toEqual([])
    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'active', host: 'h2', terminated_at: null })
  })

  it('counts the new guest only when the old one is gone, when the host is back before that', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    given.states.set('h1', 'up')
    await given.report(active(given.uuid, 'h2', 2))
    await given.sent()

    await given.step(2)
    expect(await given.instance(given.uuid)).toMatchObject({ task_state: 'rebuild_spawning', host: 'h2' })
    // It looks again by and by.
    expect(await given.told()).toEqual(['continue_build → sevbus-conductor'])
    const [departure] = await given.departed()
    await given.removed(departure?.migration_uuid as string)

    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
    expect(await given.told()).toEqual([
      'instance.rebuild.end → versioned_notifications.info',
      'slot.released → versioned_notifications.info',
      'note_build → sevbus-scheduler',
      'confirm_move → sevbus-scheduler',
    ])
    expect(await given.migrations()).toEqual(['completed: h1 to h2'])
    await given.step(2)
    expect(await given.told()).toEqual([])
  })

  it('is called off when the host is back before anything was built', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    given.states.set('h1', 'up')
    await given.sent()

    await given.step(2)

    expect(given.asked).toEqual([])
    expect(await given.instance(given.uuid)).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h1',
      attempt: 1,
      fault: { code: 'COMPUTE_SERVICE_IN_USE' },
    })
    expect(await given.attempts(given.uuid)).toEqual([
      { attempt: 1, host: 'h1', outcome: 'active' },
      { attempt: 2, host: null, outcome: 'aborted' },
    ])
  })

  it('leaves everything as it was when no host takes it, and keeps the reasons', async () => {
    await using given = await onDeadHost()
    const before = await given.instance(given.uuid)
    given.answers(() => Promise.reject(new NoValidHost('no valid host', { report: NO_HOST_REPORT, fix: 'add hosts' })))
    await given.evacuate()
    await given.sent()

    await given.step(2)

    const after = await given.instance(given.uuid)
    const { fault, updated_at: _now, ...rest } = after
    const { fault: _none, updated_at: _then, ...wasBefore } = before
    expect(rest).toEqual(wasBefore)
    expect(fault).toMatchObject({
      code: 'NO_VALID_HOST',
      message: 'the evacuation failed, and the instance is on h1 as before: no valid host',
      details: { fix: 'add hosts' },
    })
    expect(await given.told()).toEqual([
      'revert_move → sevbus-scheduler',
      'compute_task.rebuild_server.error → versioned_notifications.error',
    ])
    const { attempts } = await given.explain()
    expect(attempts.map(({ outcome, report }) => [outcome, report?.rejected])).toEqual([
      ['active', aSelection('h1').report.rejected],
      ['no valid host', NO_HOST_REPORT.rejected],
    ])
    expect(await given.migrations()).toEqual(['failed: h1 to null'])
  })

  it('begins anew after a failure with a number that no try has had', async () => {
    await using given = await onDeadHost()
    given.answers(() => Promise.reject(new NoValidHost('no valid host')))
    await given.evacuate()
    await given.step(2)
    given.answers((spec) => aSelection('h2', spec.attempt))

    expect(await given.evacuate()).toMatchObject({ attempt: 3, host: null })
    await given.step(3)
    await given.report(active(given.uuid, 'h2', 3))
    await given.step(3)

    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'active', host: 'h2', attempt: 3, fault: null })
    expect(await given.migrations()).toEqual(['failed: h1 to null', 'done: h1 to h2'])
  })

  it('tries other hosts when builds fail, as many as a boot does, and goes back in the end', async () => {
    await using given = await onDeadHost()
    const hosts = ['h2', 'h3', 'h4']
    given.answers((spec) => aSelection(hosts[spec.attempt - 2] as string, spec.attempt))
    await given.evacuate()

    for (const attempt of [2, 3, 4]) {
      await given.step(attempt)
      await given.report(failed(given.uuid, hosts[attempt - 2] as string, attempt))
    }

    expect(given.asked.map(({ ignore_hosts }) => ignore_hosts.toSorted())).toEqual([
      ['h1'],
      ['h1', 'h2'],
      ['h1', 'h2', 'h3'],
    ])
    expect(await given.instance(given.uuid)).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h1',
      attempt: 1,
      fault: { code: 'MAX_RETRIES_EXCEEDED' },
    })
    expect(await given.attempts(given.uuid)).toEqual([
      { attempt: 1, host: 'h1', outcome: 'active' },
      { attempt: 2, host: 'h2', outcome: 'failed' },
      { attempt: 3, host: 'h3', outcome: 'failed' },
      { attempt: 4, host: 'h4', outcome: 'failed' },
    ])
    const sent = await given.sent()
    const blamed = sent.filter(({ what }) => what === 'note_build').map(({ args }) => args.host)
    expect(blamed).toEqual(hosts)
    expect(sent.some(({ what }) => what === 'release_allocations')).toBe(false)
    expect(sent.filter(({ what }) => what === 'revert_move')).toHaveLength(1)
  })

  it('does not start a lesser encryption than the guest had, whatever a scheduler answers', async () => {
    const SEV = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } as const
    const ES = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' } as const
    await using given = await onDeadHost({}, ES_ELSE_SEV)
    expect((await given.instance(given.uuid)).mem_encryption).toEqual(SEV)

    given.answers((spec) => ({ ...aSelection('h2', spec.attempt), mem_encryption: ES }))
    await given.evacuate()
    await given.step(2)
    await given.report(active(given.uuid, 'h2', 2))
    await given.step(2)
    expect((await given.instance(given.uuid)).mem_encryption).toEqual(ES)

    given.states.set('h2', 'down')
    given.answers((spec) => ({ ...aSelection('h3', spec.attempt), mem_encryption: SEV }))
    await given.evacuate()
    await given.step(3)

    expect(given.asked.at(-1)?.mem_encryption).toEqual(ES)
    // h1 may have a guest of it still.
    expect(given.asked.at(-1)?.ignore_hosts.toSorted()).toEqual(['h1', 'h2'])
    expect(await given.instance(given.uuid)).toMatchObject({
      host: 'h2',
      task_state: null,
      mem_encryption: ES,
      fault: { code: 'INVALID_PROPERTY' },
    })
  })

  it('is refused by name and changes nothing, when the host is up', async () => {
    await using given = await onDeadHost()
    given.states.set('h1', 'up')

    await expect(given.evacuate()).rejects.toMatchObject({
      code: 'COMPUTE_SERVICE_IN_USE',
      message: expect.stringContaining('host h1 is up (last report 2026-01-01T00:00:00.000Z)'),
      details: { host: 'h1', fix: expect.stringContaining('sevbus host set h1 --forced-down') },
    })
    expect(await given.told()).toEqual([])
    expect(await given.migrations()).toEqual([])
  })

  it('is refused to the host that it leaves, and to one that nobody knows', async () => {
    await using given = await onDeadHost()

    await expect(given.evacuate('h1')).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { field: 'host' } })
    await expect(given.evacuate('h9')).rejects.toMatchObject({
      code: 'COMPUTE_HOST_NOT_FOUND',
      details: { host: 'h9' },
    })
    expect(await given.told()).toEqual([])
  })

  it('is refused by state, with what to do instead', async () => {
    await using given = await onDeadHost()
    const refusal = (instance_uuid: string) =>
      given.endpoint
        .evacuateInstance({ instance_uuid }, given.request)
        .catch(({ code, message }) => `${code}: ${message.replaceAll(instance_uuid, 'X')}`)
    const building = await given.accept()
    given.answers(() => Promise.reject(new NoValidHost('no valid host')))
    const inError = await given.accept()
    await given.endpoint.continueBuild({ instance_uuid: inError.uuid, attempt: 1 }, given.request)
    const deleted = await given.accept()
    await given.endpoint.deleteInstance({ instance_uuid: deleted.uuid }, given.request)

    expect(await refusal(building.uuid)).toBe(
      'INSTANCE_INVALID_STATE: instance X is being built (scheduling) and cannot be evacuated: its build is tried elsewhere by itself; see how far it is with: sevbus explain X',
    )
    expect(await refusal(inError.uuid)).toBe(
      'INSTANCE_INVALID_STATE: instance X is in error and on no host and cannot be evacuated: delete it and boot it anew',
    )
    expect(await refusal(deleted.uuid)).toBe(
      'INSTANCE_INVALID_STATE: instance X is deleted and cannot be evacuated: boot a new one',
    )
    expect(await refusal(NOT_THERE)).toContain('INSTANCE_NOT_FOUND')
    await given.evacuate()
    expect(await refusal(given.uuid)).toBe(
      'INSTANCE_INVALID_STATE: instance X is being moved already (rebuilding) and cannot be evacuated: see how far it is with: sevbus explain X',
    )
    await given.endpoint.deleteInstance({ instance_uuid: given.uuid }, given.request)
    expect(await refusal(given.uuid)).toBe(
      'INSTANCE_INVALID_STATE: instance X is being deleted and cannot be evacuated: boot a new one',
    )
  })

  it('makes nothing twice of messages that come twice, or late', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    await given.step(2)
    expect(given.asked).toHaveLength(1)
    await given.report(active(given.uuid, 'h2', 2))
    await given.sent()

    await given.report(active(given.uuid, 'h2', 2))
    await given.report(failed(given.uuid, 'h2', 2))
    expect(await given.told()).toEqual([])
    await given.step(2)
    await given.sent()
    await given.step(2)
    await given.report(active(given.uuid, 'h2', 2))

    expect(await given.told()).toEqual([])
    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2' })
  })

  it('does not have the guest removed that it may go back to, when its host says once more that it runs', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.sent()

    await given.report(active(given.uuid, 'h1', 1))

    expect(await given.told()).toEqual([])
    // Once it lives elsewhere such a report is void, as any.
    await given.step(2)
    await given.report(active(given.uuid, 'h2', 2))
    await given.step(2)
    await given.sent()
    await given.report(active(given.uuid, 'h1', 1))
    expect(await given.told()).toEqual(['terminate_instance → sevbus-compute.h1'])
  })

  it('is called off by a deletion: what was begun is void, and the dead host has to say that the guest is gone', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    await given.sent()

    const { instance } = await given.endpoint.deleteInstance({ instance_uuid: given.uuid }, given.request)

    expect(instance).toMatchObject({ task_state: 'deleting', host: 'h1', attempt: 1 })
    const sent = await given.sent()
    expect(sent.map(({ what, to, args }) => [what, to, args.void ?? null])).toEqual([
      ['instance.rebuild.error', 'versioned_notifications.error', null],
      ['terminate_instance', 'sevbus-compute.h2', true],
      ['slot.released', 'versioned_notifications.info', null],
      ['revert_move', 'sevbus-scheduler', null],
      ['instance.delete.start', 'versioned_notifications.info', null],
      ['terminate_instance', 'sevbus-compute.h1', false],
    ])
    await given.report(active(given.uuid, 'h2', 2))
    expect(await given.told()).toEqual(['terminate_instance → sevbus-compute.h2'])
    await given.endpoint.reportTerminated(
      { instance_uuid: given.uuid, attempt: 1, host: 'h1', terminated_at: TERMINATED },
      given.request,
    )
    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'deleted' })
  })

  it('is over for a deletion that comes after the guest has arrived', async () => {
    await using given = await onDeadHost()
    await given.evacuate()
    await given.step(2)
    await given.report(active(given.uuid, 'h2', 2))
    await given.sent()

    const { instance } = await given.endpoint.deleteInstance({ instance_uuid: given.uuid }, given.request)

    expect(instance).toMatchObject({ task_state: 'deleting', host: 'h2', attempt: 2 })
    expect(await given.told()).toEqual([
      'instance.rebuild.end → versioned_notifications.info',
      'slot.released → versioned_notifications.info',
      'note_build → sevbus-scheduler',
      'finish_move → sevbus-scheduler',
      'instance.delete.start → versioned_notifications.info',
      'terminate_instance → sevbus-compute.h2',
    ])
    await given.endpoint.reportTerminated(
      { instance_uuid: given.uuid, attempt: 2, host: 'h2', terminated_at: TERMINATED },
      given.request,
    )
    expect(await given.instance(given.uuid)).toMatchObject({ vm_state: 'deleted' })
    // What it left on h1 is to go all the same.
    expect(await given.departed()).toMatchObject([{ instance: { uuid: given.uuid, host: 'h1', attempt: 1 } }])
  })

  it('waits for the end of an earlier move that has not reached the scheduler', async () => {
    await using given = await onDeadHost()
    given.answers(() => Promise.reject(new StaleAttempt('migration x must be confirmed or reverted first')))
    await given.evacuate()
    await given.sent()

    await given.step(2)
    expect(await given.told()).toEqual(['continue_build → sevbus-conductor'])
    given.answers((spec) => aSelection('h2', spec.attempt))
    await given.step(2)

    expect(await given.instance(given.uuid)).toMatchObject({ host: 'h2', task_state: 'rebuild_spawning' })
  })

  it('is revived wherever it stands still, and tried elsewhere when the destination is silent', async () => {
    let now = new Date('2026-01-01T00:00:00Z')
    const later = () => {
      now = new Date(now.getTime() + 61_000)
    }
    await using given = await onDeadHost({ now: () => now, buildTimeoutMs: 60_000 })
    await given.evacuate()
    await given.sent()

    later()
    expect(await reviveOverdue(given.ports)).toBe(1)
    expect(await given.told()).toEqual(['continue_build → sevbus-conductor'])
    await given.step(2)
    await given.sent()

    later()
    expect(await reviveOverdue(given.ports)).toBe(1)
    expect(await given.told()).toEqual([
      'instance.rebuild.error → versioned_notifications.error',
      'slot.released → versioned_notifications.info',
      'note_build → sevbus-scheduler',
      'continue_build → sevbus-conductor',
      'terminate_instance → sevbus-compute.h2',
    ])
    given.answers((spec) => aSelection('h3', spec.attempt))
    await given.step(3)
    await given.report(active(given.uuid, 'h3', 3))
    await given.sent()

    later()
    expect(await reviveOverdue(given.ports)).toBe(1)
    expect(await given.told()).toEqual(['terminate_instance → sevbus-compute.h1', 'continue_build → sevbus-conductor'])
    await given.step(3)
    await given.sent()

    // The dead host is asked again, but ever less often.
    const asked: number[] = []
    for (let minute = 1; minute <= 40; minute++) {
      later()
      if ((await reviveOverdue(given.ports)) > 0) asked.push(minute)
    }
    expect(asked.length).toBeGreaterThan(1)
    expect(asked.length).toBeLessThan(8)
    expect(new Set(await given.told())).toEqual(new Set(['terminate_instance → sevbus-compute.h1']))
  })

  it('is said again at every stage to a broker that was made anew', async () => {
    await using given = await onDeadHost()
    const again = async () => {
      await given.sent()
      await resendUnfinished(given.ports)
      return given.told()
    }

    await given.evacuate()
    expect(await again()).toEqual(['continue_build → sevbus-conductor'])
    await given.step(2)
    expect(await again()).toEqual(['build_and_run_instance → sevbus-compute.h2'])
    await given.report(active(given.uuid, 'h2', 2))
    expect(await again()).toEqual(['terminate_instance → sevbus-compute.h1', 'continue_build → sevbus-conductor'])
    await given.step(2)
    expect(await again()).toEqual(['terminate_instance → sevbus-compute.h1'])
  })
})
