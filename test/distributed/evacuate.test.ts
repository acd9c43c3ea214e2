import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient, SevbusError } from '../../src/client.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { runHere } from '../support/run-here.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const SEV_HOST = { SEVBUS_FAKE_SEV_SLOTS: '8', SEVBUS_FAKE_SPAWN_DELAY_MS: '300' }
/** What a killed conductor was just sending is another's after the outbox's lease. */
const SETTLE = { timeout: 90_000, interval: 200 }

async function instances({ conductor }: SevbusClient): Promise<readonly Instance[]> {
  return (await conductor.listInstances(context, {})).instances
}

/** Waits until nothing is done to any instance, and gives them all. */
async function settled(client: SevbusClient): Promise<readonly Instance[]> {
  return vi.waitFor(async () => {
    const all = await instances(client)
    const busy = all.filter(({ task_state }) => task_state !== null)
    if (busy.length > 0) throw new Error(`still busy: ${busy.map((i) => `${i.name} ${i.task_state}`)}`)
    return all
  }, SETTLE)
}

async function boot(client: SevbusClient, count: number): Promise<readonly Instance[]> {
  await client.conductor.buildInstances(context, { name: 'web', flavor: sevFlavor, image: anImage(), count })
  return settled(client)
}

/** Asks until it is under way: of an answer that was lost with its conductor nobody can tell what had been stored. */
async function evacuate({ conductor }: SevbusClient, { uuid, host }: Instance): Promise<void> {
  for (;;) {
    const outcome = await conductor.evacuateInstance(context, { instance_uuid: uuid }).catch((error: unknown) => {
      if (error instanceof SevbusError) return error
      throw error
    })
    if (!(outcome instanceof SevbusError) || outcome.code === 'INSTANCE_INVALID_STATE') return
    // It is there already, when that host is up.
    if (outcome.code === 'COMPUTE_SERVICE_IN_USE' && outcome.details.host !== host) return
  }
}

/** Slots that are claimed on each host, by whoever holds them. */
async function slots({ database }: ProcessCloud): Promise<Readonly<Record<string, number>>> {
  const rows = await database.query<{ host: string; used: number }>(
    `select p.host, sum(a.amount)::int as used from allocations a join resource_providers p on p.name = a.provider
      where a.resource_class = 'MEM_ENCRYPTION_CONTEXT' group by p.host order by p.host`,
  )
  return Object.fromEntries(rows.map(({ host, used }) => [host, used]))
}

async function guests({ compute }: SevbusClient, server: string): Promise<readonly string[]> {
  const { guests: here } = await compute.listGuests(context, {}, { server })
  return here.map(({ uuid }) => uuid).toSorted()
}

const uuidsOn = (all: readonly Instance[], host: string) =>
  all
    .filter((instance) => instance.host === host)
    .map(({ uuid }) => uuid)
    .toSorted()

async function findings({ scheduler }: SevbusClient) {
  const { report } = await scheduler.audit(context, { settle_seconds: 1 })
  return report.findings.map(({ kind, host, problem }) => `${kind} on ${host}: ${problem}`)
}

describe('evacuation between processes, on RabbitMQ and PostgreSQL', () => {
  it('saves the instances of a host whose worker was killed, and keeps their slots there until it is back', async () => {
    await using cloud = await ProcessCloud.open()
    const [, , h1] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', SEV_HOST),
    ])
    const client = await cloud.client({ hosts: 1 })
    const [first, second] = (await boot(client, 2)) as [Instance, Instance]
    await cloud.compute('h2', SEV_HOST)
    await cloud.client({ hosts: 2 })

    const early = await runHere(['evacuate', first.uuid], cloud.env)
    expect(early).toMatchObject({ code: 5, out: expect.stringContaining('host h1 is up') })
    h1.kill('SIGKILL')
    await h1.exited()
    await vi.waitFor(async () => {
      const { hosts } = await client.scheduler.listHosts(context, { hosts: ['h1'] })
      expect(hosts[0]?.state).toBe('down')
    }, SETTLE)
    const evacuated = [first, second].map(({ uuid }) => cloud.start(['evacuate', uuid, '--wait']))
    expect(await Promise.all(evacuated.map((command) => command.exited()))).toEqual([0, 0])

    const moved = await settled(client)
    expect(moved.map(({ host, attempt, vm_state }) => `${vm_state} on ${host}, try ${attempt}`)).toEqual([
      'active on h2, try 2',
      'active on h2, try 2',
    ])
    await vi.waitFor(async () => expect(await slots(cloud)).toEqual({ h1: 2, h2: 2 }), SETTLE)
    const explained = await runHere(['explain', first.uuid], cloud.env)
    expect(explained.code).toBe(0)
    expect(explained.out).toContain('evacuation from h1 to h2: done; what it had on h1 stays claimed until')
    expect(explained.out).toContain('host h1 was down; try 2 took over on h2')

    await cloud.compute('h1', SEV_HOST)
    await vi.waitFor(async () => expect(await slots(cloud)).toEqual({ h2: 2 }), SETTLE)
    expect(await guests(client, 'h1')).toEqual([])
    expect(await guests(client, 'h2')).toEqual(uuidsOn(moved, 'h2'))
    expect(await findings(client)).toEqual([])
  })

  it('gives the slots back when an operator says that the host is powered off', async () => {
    await using cloud = await ProcessCloud.open()
    const [, , h1] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', SEV_HOST),
    ])
    const client = await cloud.client({ hosts: 1 })
    const [instance] = (await boot(client, 1)) as [Instance]
    await cloud.compute('h2', SEV_HOST)
    await cloud.client({ hosts: 2 })
    h1.kill('SIGKILL')
    await h1.exited()

    const sevbus = (...args: readonly string[]) => runHere(args, cloud.env)
    expect((await sevbus('host', 'set', 'h1', '--forced-down')).code).toBe(0)
    expect((await sevbus('evacuate', instance.uuid, '--host', 'h2', '--wait')).code).toBe(0)
    await vi.waitFor(async () => expect(await slots(cloud)).toEqual({ h1: 1, h2: 1 }), SETTLE)
    const fenced = await sevbus('host', 'set', 'h1', '--fenced')

    expect(fenced).toMatchObject({ code: 0, out: expect.stringContaining('down (fenced)') })
    await vi.waitFor(async () => expect(await slots(cloud)).toEqual({ h2: 1 }), SETTLE)
    expect(await findings(client)).toEqual([])
  })

  it('loses nothing and doubles nothing while conductors and a scheduler are killed over it', async () => {
    await using cloud = await ProcessCloud.open()
    const [conductor, scheduler, h1] = await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', SEV_HOST),
    ])
    await cloud.worker('scheduler', 's2')
    const client = await cloud.client({ hosts: 1 })
    const booted = await boot(client, 6)
    await Promise.all([cloud.compute('h2', SEV_HOST), cloud.compute('h3', SEV_HOST)])
    await cloud.client({ hosts: 3 })
    h1.kill('SIGKILL')
    await h1.exited()
    await client.scheduler.setHost(context, { host: 'h1', forced_down: true })

    const asking = Promise.all(booted.map((instance, n) => sleep(n * 150).then(() => evacuate(client, instance))))
    let doomed = conductor
    for (let n = 2; n <= 4; n++) {
      await sleep(500)
      doomed.kill('SIGKILL')
      if (n === 3) scheduler.kill('SIGKILL')
      doomed = await cloud.worker('conductor', `c${n}`)
    }
    await asking

    const moved = await settled(client)
    expect(moved.map(({ vm_state }) => vm_state)).toEqual(Array(6).fill('active'))
    expect(moved.map(({ host }) => ['h2', 'h3'].includes(host ?? ''))).toEqual(Array(6).fill(true))
    await vi.waitFor(async () => {
      const { h1: held, ...used } = await slots(cloud)
      expect(held).toBe(6)
      expect(Object.values(used).reduce((sum, each) => sum + each, 0)).toBe(6)
    }, SETTLE)
    for (const host of ['h2', 'h3']) expect(await guests(client, host)).toEqual(uuidsOn(moved, host))

    await cloud.compute('h1', SEV_HOST)
    await client.scheduler.setHost(context, { host: 'h1', forced_down: false })
    await vi.waitFor(async () => expect(Object.keys(await slots(cloud))).not.toContain('h1'), SETTLE)
    expect(await guests(client, 'h1')).toEqual([])
    expect(await settled(client)).toEqual(moved)
    expect(await findings(client)).toEqual([])
    expect(await cloud.count(`migrations where status = 'completed'`)).toBe(6)
  })
})
