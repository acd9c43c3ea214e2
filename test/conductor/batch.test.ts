import { describe, expect, it } from 'vitest'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { NoSuchServer, NoValidHost } from '../../src/errors.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { aConductor, aSelection, type Scheduler } from './conductor-harness.ts'

const UUIDS = [1, 2, 3].map((n) => `aaaaaaaa-0000-4000-8000-00000000000${n}`) as [string, string, string]
const BATCH = {
  name: 'ring',
  flavor: sevFlavor,
  image: anImage(),
  count: 3,
  min_count: 3,
  instance_uuids: UUIDS,
  ip_addresses: [],
}
const SEV = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } as const

describe.each(databaseEngines)('instances that are all or nothing, on $name', (engine) => {
  async function accepted(scheduler: Scheduler) {
    const conductor = await aConductor(engine, scheduler)
    await conductor.endpoint.buildInstances(BATCH, conductor.request)
    const first = await conductor.sent()
    const go = (uuid: string) =>
      conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    const states = async () => {
      const all = await Promise.all(UUIDS.map((uuid) => conductor.instance(uuid)))
      return all.map(({ vm_state, task_state, host }) => `${vm_state} ${task_state} ${host}`)
    }
    return { conductor, first, go, states, [Symbol.asyncDispose]: () => conductor[Symbol.asyncDispose]() }
  }
  const oneEach = () => {
    const asked: string[] = []
    const scheduler: Scheduler = async ({ instance_uuid }) => {
      asked.push(instance_uuid)
      return { ...aSelection(`h${UUIDS.indexOf(instance_uuid) + 1}`), mem_encryption: SEV }
    }
    return { asked, scheduler }
  }

  it('are asked for once, by the first, and handed over in one step', async () => {
    const { asked, scheduler } = oneEach()
    await using its = await accepted(scheduler)
    expect(its.first.map(({ what, args }) => [what, args.instance_uuid])).toEqual([['continue_build', UUIDS[0]]])

    await its.go(UUIDS[1])
    expect(asked).toEqual([])
    await its.go(UUIDS[0])
    await its.go(UUIDS[0])

    expect(asked).toEqual(UUIDS)
    expect(await its.states()).toEqual(['building spawning h1', 'building spawning h2', 'building spawning h3'])
    expect((await its.conductor.sent()).map(({ to, what }) => `${to} ${what}`)).toEqual([
      'versioned_notifications.info slot.claimed',
      'versioned_notifications.info instance.create.start',
      'sevbus-compute.h1 build_and_run_instance',
      'versioned_notifications.info slot.claimed',
      'versioned_notifications.info instance.create.start',
      'sevbus-compute.h2 build_and_run_instance',
      'versioned_notifications.info slot.claimed',
      'versioned_notifications.info instance.create.start',
      'sevbus-compute.h3 build_and_run_instance',
    ])
  })

  it('are all in ERROR with the reason when one of them has no place', async () => {
    const noHost = new NoValidHost('all or nothing, but only 2 of 3 instances fit', { fix: 'add a host' })
    await using its = await accepted(async ({ instance_uuid }) => {
      if (instance_uuid === UUIDS[2]) throw noHost
      return { ...aSelection('h1'), mem_encryption: SEV }
    })

    await its.go(UUIDS[0])

    expect(await its.states()).toEqual(UUIDS.map(() => 'error null null'))
    for (const uuid of UUIDS) {
      expect((await its.conductor.instance(uuid)).fault).toMatchObject({
        code: 'NO_VALID_HOST',
        message: 'all or nothing, but only 2 of 3 instances fit',
      })
      expect(await its.conductor.attempts(uuid)).toEqual([{ attempt: 1, host: null, outcome: 'no valid host' }])
    }
  })

  it('do not start when one would not be encrypted as asked, and give all claims back', async () => {
    await using its = await accepted(async ({ instance_uuid }) => ({
      ...aSelection('h1'),
      mem_encryption: instance_uuid === UUIDS[1] ? null : SEV,
    }))

    await its.go(UUIDS[0])

    expect(await its.states()).toEqual(UUIDS.map(() => 'error null null'))
    const released = (await its.conductor.sent()).filter(({ what }) => what === 'release_allocations')
    expect(released.map(({ args }) => args.instance_uuid)).toEqual(UUIDS)
  })

  it('wait together while no scheduler answers', async () => {
    await using its = await accepted(() => Promise.reject(new NoSuchServer('nobody serves sevbus-scheduler')))

    await its.go(UUIDS[0])

    expect(await its.states()).toEqual(UUIDS.map(() => 'building scheduling null'))
    expect((await its.conductor.sent()).map(({ what, args }) => [what, args.instance_uuid])).toEqual([
      ['continue_build', UUIDS[0]],
    ])
  })

  it('are led by the next when the first is deleted, and go on without it', async () => {
    const { asked, scheduler } = oneEach()
    await using its = await accepted(scheduler)

    await its.conductor.endpoint.deleteInstance({ instance_uuid: UUIDS[0] }, its.conductor.request)
    const sent = await its.conductor.sent()
    expect(sent.filter(({ what }) => what === 'continue_build').map(({ args }) => args.instance_uuid)).toEqual([
      UUIDS[1],
    ])
    await its.go(UUIDS[1])

    expect(asked).toEqual([UUIDS[1], UUIDS[2]])
    expect(await its.states()).toEqual(['deleted null null', 'building spawning h2', 'building spawning h3'])
  })

  it('are revived together: of their messages only the first asks', async () => {
    const { asked, scheduler } = oneEach()
    const conductor = await aConductor(engine, scheduler, { buildTimeoutMs: 0 })
    await using _ = conductor
    await conductor.endpoint.buildInstances(BATCH, conductor.request)
    await conductor.sent()

    await reviveOverdue(conductor.ports)
    for (const { what, args } of await conductor.sent()) {
      expect(what).toBe('continue_build')
      await conductor.endpoint.continueBuild(args as { instance_uuid: string; attempt: number }, conductor.request)
    }

    expect(asked).toEqual(UUIDS)
  })

  it('build each by itself after a failure on its host: all have had their place', async () => {
    const { asked, scheduler } = oneEach()
    await using its = await accepted(scheduler)
    await its.go(UUIDS[0])
    const fault = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: new Date().toISOString() }
    const outcome = { result: 'failed' as const, fault, retryable: true }
    const report = { instance_uuid: UUIDS[1], host: 'h2', attempt: 1, outcome }
    await its.conductor.endpoint.reportBuild(report, its.conductor.request)
    asked.length = 0

    await its.conductor.endpoint.continueBuild({ instance_uuid: UUIDS[1], attempt: 2 }, its.conductor.request)

    expect(asked).toEqual([UUIDS[1]])
  })

  it.each([
    [{ min_count: 2 }, 'min_count is 2 of count 3, but some of them without the rest is not offered'],
    [{ min_count: 4 }, 'min_count is 4 of count 3'],
    [{ count: 101, min_count: 101, instance_uuids: undefined }, 'at most 100 can be all or nothing'],
  ])('are refused as %j', async (changes, message) => {
    await using conductor = await aConductor(engine, oneEach().scheduler)
    const args = { ...BATCH, ...changes }

    await expect(conductor.endpoint.buildInstances(args, conductor.request)).rejects.toThrow(message)
    expect(await conductor.sent()).toEqual([])
  })
})
