import { describe, expect, it } from 'vitest'
import { conductorEndpoint } from '../../src/conductor/manager.ts'
import type { ConductorPorts } from '../../src/conductor/ports.ts'
import { resendUnfinished } from '../../src/conductor/resend.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import {
  DatabaseUnavailable,
  InstanceExists,
  InstanceNotFound,
  NoSuchServer,
  NoValidHost,
  SpawnFailed,
  StaleAttempt,
} from '../../src/errors.ts'
import { faultOf } from '../../src/objects/fault.ts'
import type { RequestSpec } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { aFlavor, anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const REPORT = {
  hosts_considered: 1,
  rejected: [{ filter: 'MemEncryptionSlots', hosts: 1 }],
  rejections: [{ host: 'h1', filter: 'MemEncryptionSlots', reason: '15 of 15 SEV slots used' }],
  ranking: [],
}
const NEVER = new Error('the scheduler must not be asked')

function failedReport(uuid: string, host: string, attempt: number, retryable = true) {
  const fault = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: new Date().toISOString() }
  return { instance_uuid: uuid, host, attempt, outcome: { result: 'failed' as const, fault, retryable } }
}

function activeReport(uuid: string, host: string, attempt: number) {
  const outcome = { result: 'active' as const, launched_at: '2026-01-01T00:00:00.000Z' }
  return { instance_uuid: uuid, host, attempt, outcome }
}

describe.each(databaseEngines)('conductor on $name', (engine) => {
  const neverAsked = () => Promise.reject(NEVER)
  const onHost = (host: string) => async (spec: RequestSpec) => aSelection(host, spec.attempt)

  it('stores what it accepts together with the message that starts the build', async () => {
    await using conductor = await aConductor(engine, neverAsked)

    const accepted = await conductor.accept()

    expect(accepted).toMatchObject({ vm_state: 'building', task_state: 'scheduling', host: null, attempt: 1 })
    expect(accepted.mem_encryption).toEqual({ model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' })
    expect(await conductor.instance(accepted.uuid)).toEqual(accepted)
    expect(await conductor.sent()).toEqual([
      { to: 'sevbus-conductor', what: 'continue_build', args: { instance_uuid: accepted.uuid, attempt: 1 } },
    ])
  })

  it.each([
    [
      'contradict each other',
      sevFlavor,
      { hw_firmware_type: 'uefi', hw_mem_encryption: false },
      'FLAVOR_IMAGE_CONFLICT',
    ],
    ['lock memory without a page size', aFlavor({ 'hw:locked_memory': 'true' }), {}, 'LOCK_MEMORY_FORBIDDEN'],
    [
      'want pages that the flavor does not allow',
      plainFlavor,
      { hw_mem_page_size: '1GB' },
      'MEMORY_PAGE_SIZE_FORBIDDEN',
    ],
  ] as const)('refuses a flavor and an image that %s, and stores nothing', async (_what, flavor, properties, code) => {
    await using conductor = await aConductor(engine, neverAsked)
    const args = { name: 'odd', flavor, image: anImage(properties), count: 1, ip_addresses: [] }

    await expect(conductor.endpoint.buildInstances(args, conductor.request)).rejects.toMatchObject({ code })

    expect((await conductor.endpoint.listInstances({ limit: 10 }, conductor.request)).instances).toEqual([])
    expect(await conductor.sent()).toEqual([])
  })

  it('asks the scheduler for the zone and the hints of the request, at every try', async () => {
    const asked: Pick<RequestSpec, 'attempt' | 'availability_zone' | 'scheduler_hints'>[] = []
    await using conductor = await aConductor(engine, async ({ attempt, availability_zone, scheduler_hints }) => {
      asked.push({ attempt, availability_zone, scheduler_hints })
      return aSelection(`h${attempt}`, attempt)
    })
    const scheduler_hints = { group: null, same_host: [], different_host: ['aaaaaaaa-0000-4000-8000-00000000000d'] }
    const where = { availability_zone: 'room-2', scheduler_hints }
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [], ...where }
    const [accepted] = (await conductor.endpoint.buildInstances(args, conductor.request)).instances
    const uuid = accepted?.uuid as string

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, conductor.request)

    expect(asked).toEqual([
      { attempt: 1, ...where },
      { attempt: 2, ...where },
    ])
    expect(await conductor.instance(uuid)).toMatchObject({ host: 'h2', ...where })
  })

  it('refuses another zone or other hints under uuids that it knows', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const instance_uuids = ['aaaaaaaa-0000-4000-8000-000000000001']
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [], instance_uuids }
    const hints = { group: 'aaaaaaaa-0000-4000-8000-00000000000e', same_host: [], different_host: [] }
    await conductor.endpoint.buildInstances(args, conductor.request)

    // One after the other: a refusal that nobody waits for yet would end the run.
    const refused = (changes: object) =>
      expect(conductor.endpoint.buildInstances({ ...args, ...changes }, conductor.request)).rejects.toBeInstanceOf(
        InstanceExists,
      )
    await refused({ availability_zone: 'room-2' })
    await refused({ scheduler_hints: hints })
  })

  it('sends user data to each host that tries, tells it nobody else, and forgets it with the instance', async () => {
    let tries = 0
    await using conductor = await aConductor(engine, async ({ attempt }) => aSelection(`h${++tries}`, attempt))
    const user_data = Buffer.from('#cloud-config').toString('base64')
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [], user_data }
    const accepted = (await conductor.endpoint.buildInstances(args, conductor.request)).instances[0]
    const { uuid } = accepted as { uuid: string }
    const first = { instance_uuid: uuid, attempt: 1 }
    await conductor.sent()

    await conductor.endpoint.continueBuild(first, conductor.request)
    const sent = await conductor.sent()
    await resendUnfinished(conductor.ports)
    const again = await conductor.sent()
    await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)
    await conductor.sent()
    await conductor.endpoint.continueBuild({ ...first, attempt: 2 }, conductor.request)
    const next = await conductor.sent()

    const builds = [...sent, ...again, ...next].filter(({ what }) => what === 'build_and_run_instance')
    expect(builds.map(({ to, args: { user_data: data } }) => [to, data])).toEqual([
      ['sevbus-compute.h1', user_data],
      ['sevbus-compute.h1', user_data],
      ['sevbus-compute.h2', user_data],
    ])
    const instance = await conductor.instance(uuid)
    expect(instance).toMatchObject({ config_drive: true })
    const answers = [accepted, instance, await conductor.endpoint.listInstances({ limit: 10 }, conductor.request)]
    expect(JSON.stringify(answers)).not.toContain(user_data)

    const kept = () => conductor.ports.database.query('SELECT instance_uuid FROM user_data')
    expect(await kept()).toHaveLength(1)
    await conductor.endpoint.deleteInstance({ instance_uuid: uuid }, conductor.request)
    const gone = { instance_uuid: uuid, host: 'h2', attempt: 2, terminated_at: '2026-01-01T00:00:00.000Z' }
    await conductor.endpoint.reportTerminated(gone, conductor.request)
    expect(await kept()).toEqual([])
  })

  it('takes the same request for the same only with the same user data and drive', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const instance_uuids = ['aaaaaaaa-0000-4000-8000-000000000001']
    const common = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [], instance_uuids }
    const args = { ...common, user_data: 'YQ==' }
    const accept = (request: typeof common) => conductor.endpoint.buildInstances(request, conductor.request)
    const first = await accept(args)

    expect(await accept(args)).toEqual(first)
    await expect(accept({ ...common, user_data: 'Yg==' } as typeof common)).rejects.toBeInstanceOf(InstanceExists)
    await expect(accept({ ...common, config_drive: true } as typeof common)).rejects.toBeInstanceOf(InstanceExists)
    await conductor.endpoint.deleteInstance({ instance_uuid: first.instances[0]?.uuid ?? '' }, conductor.request)
    expect((await accept(args)).instances).toMatchObject([{ vm_state: 'deleted' }])
  })

  it('gives a config drive to whom it is asked for, and refuses user data that no drive would carry', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [] }
    const driveOf = async (changes: object) =>
      (await conductor.endpoint.buildInstances({ ...args, ...changes }, conductor.request)).instances[0]?.config_drive

    expect(await driveOf({})).toBe(false)
    expect(await driveOf({ config_drive: true })).toBe(true)
    expect(await driveOf({ user_data: 'YQ==' })).toBe(true)
    await expect(driveOf({ user_data: 'YQ==', config_drive: false })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENTS',
      details: { field: 'config_drive', fix: 'leave config_drive out, or user_data' },
    })
  })

  it('makes nothing twice when the same request comes again with its uuids, and refuses another under them', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const instance_uuids = ['aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000002']
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 2, ip_addresses: [], instance_uuids }

    const first = await conductor.endpoint.buildInstances(args, conductor.request)
    const again = await conductor.endpoint.buildInstances(args, conductor.request)
    const other = conductor.endpoint.buildInstances({ ...args, flavor: plainFlavor }, conductor.request)

    expect(again).toEqual(first)
    expect(first.instances.map(({ name }) => name)).toEqual(['web-1', 'web-2'])
    await expect(other).rejects.toBeInstanceOf(InstanceExists)
    expect(await conductor.sent()).toHaveLength(2)
  })

  it('hands the instance to the host that was chosen, once, however often it is told to', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.sent()

    for (const _ of [1, 2])
      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'building', task_state: 'spawning', host: 'h1' })
    const sent = await conductor.sent()
    expect(sent.map(({ to, what }) => `${to} ${what}`)).toEqual([
      'versioned_notifications.info slot.claimed',
      'versioned_notifications.info instance.create.start',
      'sevbus-compute.h1 build_and_run_instance',
    ])
  })

  it('tells the host what was claimed for the try, also when all is said again to a new broker', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    const claimed = [{ provider: 'h1_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]

    expect((await conductor.sent()).at(-1)?.args.allocations).toEqual(claimed)
    await resendUnfinished(conductor.ports)
    expect((await conductor.sent()).map(({ what, args }) => [what, args.allocations])).toEqual([
      ['build_and_run_instance', claimed],
    ])
  })

  it('asks with the translated extra specs, and leaves the stored flavor as it was', async () => {
    const asked: RequestSpec[] = []
    await using conductor = await aConductor(engine, async (spec) => {
      asked.push(spec)
      return aSelection('h1')
    })
    const { uuid } = await conductor.accept()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(asked.map(({ flavor }) => flavor.extra_specs)).toEqual([
      {
        'hw:mem_encryption': 'true',
        'resources:MEM_ENCRYPTION_CONTEXT': '1',
        'trait:HW_CPU_X86_AMD_SEV': 'required',
      },
    ])
    expect((await conductor.instance(uuid)).flavor.extra_specs).toEqual({ 'hw:mem_encryption': 'true' })
  })

  describe('with several models that will do', () => {
    const either = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es,amd-sev' })
    const sev = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } as const
    const accepted = async (conductor: Awaited<ReturnType<typeof aConductor>>) => {
      const args = { name: 'web', flavor: either, image: anImage(), count: 1, ip_addresses: [] }
      const { instances } = await conductor.endpoint.buildInstances(args, conductor.request)
      await conductor.sent()
      return instances[0]?.uuid as string
    }

    it('asks for one slot of any of them, and builds what the scheduler has chosen', async () => {
      const asked: RequestSpec[] = []
      await using conductor = await aConductor(engine, async (spec) => {
        asked.push(spec)
        return { ...aSelection('h1'), mem_encryption: sev }
      })
      const uuid = await accepted(conductor)

      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

      expect(asked[0]?.flavor.extra_specs).toEqual({
        ...either.extra_specs,
        'resources:MEM_ENCRYPTION_CONTEXT': '1',
      })
      expect(await conductor.instance(uuid)).toMatchObject({ host: 'h1', mem_encryption: sev })
      expect((await conductor.sent()).map(({ what, args }) => [what, args.instance])).toMatchObject([
        ['slot.claimed', undefined],
        ['instance.create.start', undefined],
        ['build_and_run_instance', { mem_encryption: sev }],
      ])
    })

    it('asks for all of them again after a failure, whatever was chosen before', async () => {
      const asked: RequestSpec[] = []
      await using conductor = await aConductor(engine, async (spec) => {
        asked.push(spec)
        return { ...aSelection('h1', spec.attempt), mem_encryption: sev }
      })
      const uuid = await accepted(conductor)
      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
      await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)

      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, conductor.request)

      expect(asked[1]?.flavor).toEqual(asked[0]?.flavor)
    })

    it.each([
      ['names a model that nobody asked for', { ...sev, model: 'amd-sev-snp', policy: '0x00030000' }],
      ['weakens the policy', { ...sev, policy: '0x0001' }],
      ['says that it runs in clear', null],
      ['does not say which', undefined],
    ] as const)('refuses an answer that %s, and gives the claim back', async (_what, mem_encryption) => {
      await using conductor = await aConductor(engine, async () => ({
        ...aSelection('h1'),
        ...(mem_encryption !== undefined && { mem_encryption }),
      }))
      const uuid = await accepted(conductor)

      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

      expect(await conductor.instance(uuid)).toMatchObject({
        vm_state: 'error',
        host: null,
        fault: { code: 'INVALID_PROPERTY' },
      })
      expect((await conductor.sent()).map(({ what }) => what)).toEqual([
        'compute_task.build_instances.error',
        'release_allocations',
      ])
    })
  })

  it('ends in ERROR with the reasons host by host when there is no host, and tells those who watch', async () => {
    const noHost = new NoValidHost('no valid host', { report: REPORT, fix: 'delete one' })
    await using conductor = await aConductor(engine, () => Promise.reject(noHost))
    const { uuid } = await conductor.accept()
    await conductor.sent()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    const { vm_state, fault } = await conductor.instance(uuid)
    expect({ vm_state, code: fault?.code, report: fault?.details.report }).toEqual({
      vm_state: 'error',
      code: 'NO_VALID_HOST',
      report: REPORT,
    })
    expect(await conductor.attempts(uuid)).toEqual([{ attempt: 1, host: null, outcome: 'no valid host' }])
    expect((await conductor.sent()).map(({ to, what }) => `${to} ${what}`)).toEqual([
      'versioned_notifications.error compute_task.build_instances.error',
      'sevbus-scheduler release_allocations',
    ])
  })

  it('asks again while no scheduler answers', async () => {
    let tries = 0
    await using conductor = await aConductor(engine, async () => {
      tries += 1
      if (tries < 3) throw new NoSuchServer('nobody serves sevbus-scheduler')
      return aSelection('h1')
    })
    const { uuid } = await conductor.accept()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({ task_state: 'spawning', host: 'h1' })
  })

  it.each([
    ['a guest that runs', activeReport, null],
    ['a failure that another host may not have', failedReport, 'SPAWN_FAILED: QEMU died'],
  ])('tells the scheduler of %s, once', async (_what, report, failure) => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.sent()

    for (const _ of [1, 2]) await conductor.endpoint.reportBuild(report(uuid, 'h1', 1), conductor.request)

    expect((await conductor.sent()).filter(({ what }) => what === 'note_build')).toEqual([
      { to: 'sevbus-scheduler', what: 'note_build', args: { instance_uuid: uuid, attempt: 1, host: 'h1', failure } },
    ])
  })

  it('does not hold against a host what no other could do either', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.sent()

    await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1, false), conductor.request)

    expect((await conductor.sent()).map(({ what }) => what)).not.toContain('note_build')
  })

  it('leaves the instance alone when its try is void', async () => {
    await using conductor = await aConductor(engine, () => Promise.reject(new StaleAttempt('a later try has claimed')))
    const { uuid } = await conductor.accept()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({
      vm_state: 'building',
      task_state: 'scheduling',
      fault: null,
    })
  })

  it('takes the ends of many builds in one message, each by itself, and once more without doing anything twice', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const uuids = [(await conductor.accept()).uuid, (await conductor.accept()).uuid, (await conductor.accept()).uuid]
    const [first = '', second = '', failing = ''] = uuids
    for (const instance_uuid of uuids)
      await conductor.endpoint.continueBuild({ instance_uuid, attempt: 1 }, conductor.request)
    await conductor.sent()
    const actives = [first, second].map((uuid) => activeReport(uuid, 'h1', 1))
    const unknown = activeReport('99999999-1111-4111-8111-111111111111', 'h1', 1)

    const reports = [unknown, ...actives, failedReport(failing, 'h1', 1, false)]
    const wasTaken = conductor.endpoint.reportBuilds({ reports }, conductor.request)

    await expect(wasTaken).rejects.toThrow(InstanceNotFound)
    const states = await Promise.all(uuids.map(async (uuid) => (await conductor.instance(uuid)).vm_state))
    expect(states).toEqual(['active', 'active', 'error'])
    await conductor.sent()
    await conductor.endpoint.reportBuilds({ reports: actives }, conductor.request)
    expect(await conductor.sent()).toEqual([])
  })

  it('takes the ends of many builds again, and not to the dead letters, while one of them may pass', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    const isAway = new DatabaseUnavailable('the database is away')
    const steps = { read: () => Promise.reject(isAway) } as unknown as ConductorPorts['steps']
    const endpoint = conductorEndpoint({ ...conductor.ports, steps })

    const reports = [failedReport('99999999-1111-4111-8111-111111111111', 'h1', 1, false), activeReport(uuid, 'h1', 1)]

    await expect(endpoint.reportBuilds({ reports }, conductor.request)).rejects.toBe(isAway)
    await expect(conductor.endpoint.reportBuilds({ reports }, conductor.request)).rejects.toThrow(InstanceNotFound)
    expect((await conductor.instance(uuid)).vm_state).toBe('active')
  })

  it('is ACTIVE when the host says so, and stays so when it is told twice', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    for (const _ of [1, 2]) await conductor.endpoint.reportBuild(activeReport(uuid, 'h1', 1), conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({
      vm_state: 'active',
      task_state: null,
      host: 'h1',
      launched_at: '2026-01-01T00:00:00.000Z',
    })
    expect(await conductor.attempts(uuid)).toEqual([{ attempt: 1, host: 'h1', outcome: 'active' }])
    const charged = (await conductor.sent()).filter(({ what }) => what === 'instance.create.end')
    expect(charged.map(({ to }) => to)).toEqual(['versioned_notifications.info'])
  })

  it('tries again on another host after a failure that another host may not have', async () => {
    const ignored: string[][] = []
    await using conductor = await aConductor(engine, async (spec) => {
      ignored.push([...spec.ignore_hosts])
      return aSelection(`h${spec.attempt}`, spec.attempt)
    })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    for (const _ of [1, 2]) await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, conductor.request)

    expect(ignored).toEqual([[], ['h1']])
    expect(await conductor.instance(uuid)).toMatchObject({ task_state: 'spawning', host: 'h2', attempt: 2 })
    expect(await conductor.attempts(uuid)).toEqual([
      { attempt: 1, host: 'h1', outcome: 'failed' },
      { attempt: 2, host: 'h2', outcome: 'spawning' },
    ])
  })

  it('gives up at the limit of tries, gives the claim back and says why', async () => {
    await using conductor = await aConductor(engine, async (spec) => aSelection(`h${spec.attempt}`, spec.attempt), {
      maxAttempts: 2,
    })
    const { uuid } = await conductor.accept()
    for (const attempt of [1, 2]) {
      await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt }, conductor.request)
      await conductor.sent()
      await conductor.endpoint.reportBuild(failedReport(uuid, `h${attempt}`, attempt), conductor.request)
    }

    const { vm_state, host, fault } = await conductor.instance(uuid)
    expect({ vm_state, host, code: fault?.code }).toEqual({
      vm_state: 'error',
      host: null,
      code: 'MAX_RETRIES_EXCEEDED',
    })
    expect(fault?.message).toBe(
      `instance ${uuid} failed on 2 host(s), the limit is 2: h1: SPAWN_FAILED: QEMU died; h2: SPAWN_FAILED: QEMU died`,
    )
    expect((await conductor.sent()).map(({ what }) => what)).toEqual([
      'instance.create.error',
      'slot.released',
      'note_build',
      'compute_task.build_instances.error',
      'release_allocations',
    ])
  })

  it('says where and why it had failed when no host is left for another try', async () => {
    await using conductor = await aConductor(engine, async ({ attempt }) => {
      if (attempt > 1) throw new NoValidHost('no valid host: 1 of 1 refused')
      return aSelection('h1')
    })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, conductor.request)

    const { fault } = await conductor.instance(uuid)
    expect([fault?.code, fault?.message]).toEqual([
      'NO_VALID_HOST',
      'no valid host: 1 of 1 refused; it had failed on h1: SPAWN_FAILED: QEMU died',
    ])
  })

  it('has a guest destroyed that runs under a try that is void', async () => {
    await using conductor = await aConductor(engine, async (spec) => aSelection(`h${spec.attempt}`, spec.attempt))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.endpoint.reportBuild(failedReport(uuid, 'h1', 1), conductor.request)
    await conductor.sent()

    await conductor.endpoint.reportBuild(activeReport(uuid, 'h1', 1), conductor.request)

    const sent = await conductor.sent()
    expect(sent.map(({ to, what, args }) => [to, what, args.void])).toEqual([
      ['sevbus-compute.h1', 'terminate_instance', true],
    ])
    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'building', attempt: 2 })
  })

  it('frees the slot of a deleted instance only when its host has reported the end', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.endpoint.reportBuild(activeReport(uuid, 'h1', 1), conductor.request)
    await conductor.sent()

    for (const _ of [1, 2]) await conductor.endpoint.deleteInstance({ instance_uuid: uuid }, conductor.request)
    // Told again when asked again: the first word may have been lost with a broker.
    expect((await conductor.sent()).map(({ what }) => what)).toEqual([
      'instance.delete.start',
      'terminate_instance',
      'terminate_instance',
    ])
    const terminated = { instance_uuid: uuid, attempt: 1, host: 'h1', terminated_at: '2026-01-02T00:00:00.000Z' }
    for (const _ of [1, 2]) await conductor.endpoint.reportTerminated(terminated, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({
      vm_state: 'deleted',
      host: null,
      terminated_at: '2026-01-02T00:00:00.000Z',
    })
    expect((await conductor.sent()).map(({ what }) => what)).toEqual([
      'instance.delete.end',
      'slot.released',
      'release_allocations',
    ])
  })

  it('deletes an instance that has no host at once, and tells of both ends', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const { uuid } = await conductor.accept()
    await conductor.sent()

    await conductor.endpoint.deleteInstance({ instance_uuid: uuid }, conductor.request)
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'deleted', task_state: null })
    expect((await conductor.sent()).map(({ what }) => what)).toEqual([
      'instance.delete.start',
      'instance.delete.end',
      'release_allocations',
    ])
  })

  it('gives back a claim that was made while the instance was deleted', async () => {
    const conductorOf: { current?: Awaited<ReturnType<typeof aConductor>> } = {}
    await using conductor = await aConductor(engine, async (spec) => {
      await conductorOf.current?.endpoint.deleteInstance({ instance_uuid: spec.instance_uuid }, conductor.request)
      await conductorOf.current?.sent()
      return aSelection('h1')
    })
    conductorOf.current = conductor
    const { uuid } = await conductor.accept()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'deleted', host: null })
    expect((await conductor.sent()).map(({ what }) => what)).toEqual(['release_allocations'])
  })

  it('wants an interrupted build only where and while it is the current try', async () => {
    await using conductor = await aConductor(engine, onHost('h1'))
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    const wanted = async (host: string, attempt: number) =>
      (await conductor.endpoint.checkBuild({ instance_uuid: uuid, host, attempt }, conductor.request)).wanted

    expect([await wanted('h1', 1), await wanted('h2', 1), await wanted('h1', 2)]).toEqual([true, false, false])
    await conductor.endpoint.deleteInstance({ instance_uuid: uuid }, conductor.request)
    expect(await wanted('h1', 1)).toBe(false)
  })

  it('tries elsewhere when a host is silent about a build for too long', async () => {
    const clock = { now: new Date() }
    await using conductor = await aConductor(engine, onHost('h1'), { now: () => clock.now })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.sent()

    expect(await reviveOverdue(conductor.ports)).toBe(0)
    clock.now = new Date(clock.now.getTime() + 61_000)
    expect(await reviveOverdue(conductor.ports)).toBe(1)

    expect(await conductor.instance(uuid)).toMatchObject({ task_state: 'scheduling', host: null, attempt: 2 })
    const sent = await conductor.sent()
    expect(sent.map(({ to, what }) => `${to} ${what}`)).toEqual([
      'versioned_notifications.error instance.create.error',
      'versioned_notifications.info slot.released',
      'sevbus-scheduler note_build',
      'sevbus-conductor continue_build',
      'sevbus-compute.h1 terminate_instance',
    ])
    expect(sent.slice(2).map(({ args }) => args.attempt ?? args.void)).toEqual([1, 2, true])
  })

  it('answers no more instances at once than fit into a message', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const extra_specs = Object.fromEntries(Array.from({ length: 128 }, (_, n) => [`quota:${n}`, 'x'.repeat(250)]))
    const args = { name: 'big', flavor: { ...plainFlavor, extra_specs }, image: anImage({}), ip_addresses: [] }

    const tooMany = conductor.endpoint.buildInstances({ ...args, count: 1000 }, conductor.request)
    await expect(tooMany).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { field: 'count' } })
    for (const _ of [1, 2]) await conductor.endpoint.buildInstances({ ...args, count: 50 }, conductor.request)
    const first = await conductor.endpoint.listInstances({ limit: 1000 }, conductor.request)
    const marker = first.instances.at(-1)?.uuid as string
    const second = await conductor.endpoint.listInstances({ limit: 1000, marker }, conductor.request)

    expect(first.instances.length).toBeLessThan(100)
    expect(first.instances.length + second.instances.length).toBe(100)
  })

  it('tells a host again of a deletion that nothing was heard of for too long', async () => {
    const clock = { now: new Date() }
    await using conductor = await aConductor(engine, onHost('h1'), { now: () => clock.now })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    await conductor.endpoint.deleteInstance({ instance_uuid: uuid }, conductor.request)
    await conductor.sent()

    clock.now = new Date(clock.now.getTime() + 61_000)
    expect(await reviveOverdue(conductor.ports)).toBe(1)
    expect(await reviveOverdue(conductor.ports)).toBe(0)

    expect((await conductor.sent()).map(({ what, args }) => [what, args.void])).toEqual([['terminate_instance', false]])
    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'building', task_state: 'deleting', host: 'h1' })
  })

  it('revives the others when one cannot be revived', async () => {
    const clock = { now: new Date() }
    await using conductor = await aConductor(engine, onHost('h1'), { now: () => clock.now })
    const first = await conductor.accept()
    const second = await conductor.accept()
    await conductor.ports.database.query(`UPDATE instances SET flavor = '{}' WHERE uuid = $1`, [first.uuid])
    await conductor.sent()

    clock.now = new Date(clock.now.getTime() + 61_000)
    await reviveOverdue(conductor.ports)

    expect((await conductor.sent()).map(({ args }) => args.instance_uuid)).toEqual([second.uuid])
  })

  it('leaves room for others while no scheduler answers: it looks again by a later message', async () => {
    const clock = { now: new Date() }
    const away = new NoSuchServer('nobody serves sevbus-scheduler')
    await using conductor = await aConductor(engine, () => Promise.reject(away), { now: () => clock.now })
    const { uuid } = await conductor.accept()
    await conductor.sent()

    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'building', task_state: 'scheduling' })
    expect((await conductor.sent()).map(({ what }) => what)).toEqual(['continue_build'])
    clock.now = new Date(clock.now.getTime() + 61_000)
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    expect(await conductor.instance(uuid)).toMatchObject({ vm_state: 'error', fault: { code: 'NO_SUCH_SERVER' } })
  })

  it('answers requests that come at the same time with the same uuids alike', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const instance_uuids = ['AAAAAAAA-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000002']
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 2, ip_addresses: [], instance_uuids }

    const answers = await Promise.all(
      [1, 2, 3, 4].map(() => conductor.endpoint.buildInstances(args, conductor.request)),
    )

    for (const answer of answers) expect(answer).toEqual(answers[0])
    expect(await conductor.sent()).toHaveLength(2)
    const twice = {
      ...args,
      instance_uuids: [instance_uuids[0] as string, (instance_uuids[0] as string).toLowerCase()],
    }
    await expect(conductor.endpoint.buildInstances(twice, conductor.request)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENTS',
    })
  })

  it('keeps no token of its callers', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const context = { ...conductor.request.context, auth_token: 'TOPSECRET', service_catalog: ['TOPSECRET'] }
    const args = { name: 'web', flavor: sevFlavor, image: anImage(), count: 1, ip_addresses: [] }

    await conductor.endpoint.buildInstances(args, { ...conductor.request, context })

    const rows = await conductor.ports.database.query(
      'SELECT context::text AS text FROM instances UNION ALL SELECT body FROM outbox',
    )
    expect(rows).toHaveLength(2)
    for (const row of rows) expect(JSON.stringify(row)).not.toContain('TOPSECRET')
  })

  it('stores a fault whatever characters a failing program left in it', async () => {
    await using conductor = await aConductor(engine, onHost('h1'), { maxAttempts: 1 })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    const report = failedReport(uuid, 'h1', 1)
    const fault = faultOf(new SpawnFailed('QEMU said \u0000 and \ud800'), report.outcome.fault.created_at)

    await conductor.endpoint.reportBuild({ ...report, outcome: { ...report.outcome, fault } }, conductor.request)

    expect((await conductor.instance(uuid)).fault?.message).toContain('QEMU said \ufffd and \ufffd')
  })

  it('cuts lists into pages and shows deleted instances only when asked for', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const args = { name: 'web', flavor: plainFlavor, image: anImage({}), count: 3, ip_addresses: [] }
    const { instances } = await conductor.endpoint.buildInstances(args, conductor.request)
    const [first, second, third] = instances.map(({ uuid }) => uuid) as [string, string, string]
    await conductor.endpoint.deleteInstance({ instance_uuid: second }, conductor.request)
    const list = async (query: object) =>
      (await conductor.endpoint.listInstances({ limit: 10, ...query }, conductor.request)).instances.map(
        ({ uuid }) => uuid,
      )

    expect(await list({})).toEqual([first, third])
    expect(await list({ vm_state: 'deleted' })).toEqual([second])
    expect(await list({ limit: 1, marker: first })).toEqual([third])
    expect(await list({ name: 'web-3' })).toEqual([third])
  })

  it('says which uuid it does not know', async () => {
    await using conductor = await aConductor(engine, neverAsked)
    const unknown = '99999999-9999-4999-8999-999999999999'

    const asked = conductor.endpoint.getInstance({ instance_uuid: unknown }, conductor.request)

    await expect(asked).rejects.toMatchObject({ code: 'INSTANCE_NOT_FOUND', message: expect.stringContaining(unknown) })
    await expect(asked).rejects.toBeInstanceOf(InstanceNotFound)
  })
})
