import { describe, expect, it } from 'vitest'
import { endFencedDeletions } from '../../src/conductor/fenced-deletions.ts'
import { HostSummary } from '../../src/objects/host-report.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, active, aSelection } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:02:00.000Z'

/** h1 as its operator has left it, and a clock. */
async function aFencedCloud(engine: Parameters<typeof aConductor>[0]) {
  const host = { isFenced: false }
  const clock = { now: new Date() }
  const cloud = await aConductor(engine, async ({ attempt }) => aSelection('h1', attempt), { now: () => clock.now })
  const { listHosts } = cloud.ports.scheduler
  Object.assign(cloud.ports.scheduler, {
    listHosts: async (...asked: Parameters<typeof listHosts>) => {
      const { hosts } = await listHosts(...asked)
      return { hosts: hosts.map((each) => HostSummary.parse({ ...each, fenced: host.isFenced })) }
    },
  })
  const later = () => {
    clock.now = new Date(clock.now.getTime() + 10_000)
    return endFencedDeletions(cloud.ports)
  }
  return { cloud, host, later }
}

describe.each(databaseEngines)('with a host that was away, on $name', (engine) => {
  it('an action is still wanted only under its number, on its host, and while nothing took its place', async () => {
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection('h1', attempt))
    const { uuid } = await active(cloud)
    await cloud.endpoint.stopInstance({ instance_uuid: uuid, clean_shutdown: true }, cloud.request)
    const asked = { instance_uuid: uuid, attempt: 1, host: 'h1', number: 1 }
    const check = async (changes: object = {}) =>
      (await cloud.endpoint.checkAction({ ...asked, ...changes }, cloud.request)).wanted

    const during = [await check(), await check({ number: 2 }), await check({ host: 'h2' }), await check({ attempt: 2 })]
    await cloud.endpoint.deleteInstance({ instance_uuid: uuid }, cloud.request)

    expect([...during, await check()]).toEqual([true, false, false, false, false])
    expect(await check({ instance_uuid: '00000000-0000-4000-8000-000000000000' })).toBe(false)
  })

  it('a deletion ends when the host is fenced, before or after it was asked for, and gives the claim back once', async () => {
    const { cloud, host, later } = await aFencedCloud(engine)
    await using _ = cloud
    const { uuid } = await active(cloud)
    cloud.states.set('h1', 'down')
    await cloud.endpoint.deleteInstance({ instance_uuid: uuid }, cloud.request)
    await cloud.sent()

    const whileDown = await later()
    const waiting = await cloud.instance(uuid)
    host.isFenced = true
    const ended = await later()
    const sent = await cloud.sent()
    const report = { instance_uuid: uuid, attempt: 1, host: 'h1', terminated_at: LAUNCHED }
    await cloud.endpoint.reportTerminated(report, cloud.request)

    expect([whileDown, waiting.task_state, ended, await later()]).toEqual([0, 'deleting', 1, 0])
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'deleted', task_state: null, host: null })
    expect(sent.map(({ what }) => what)).toEqual(['instance.delete.end', 'slot.released', 'release_allocations'])
    expect(await cloud.sent()).toEqual([])
  })

  it('a deletion in the middle of a boot, asked for twice, ends once when the host is fenced', async () => {
    const { cloud, host, later } = await aFencedCloud(engine)
    await using _ = cloud
    const { uuid } = await cloud.accept()
    await cloud.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, cloud.request)
    cloud.states.set('h1', 'down')
    host.isFenced = true
    await cloud.sent()

    await cloud.endpoint.deleteInstance({ instance_uuid: uuid }, cloud.request)
    await cloud.endpoint.deleteInstance({ instance_uuid: uuid }, cloud.request)
    await Promise.all([later(), later()])

    const told = (await cloud.sent()).map(({ what }) => what)
    expect(told.filter((what) => what !== 'terminate_instance')).toEqual([
      'instance.create.error',
      'instance.delete.start',
      'instance.delete.end',
      'slot.released',
      'release_allocations',
    ])
    expect((await cloud.instance(uuid)).vm_state).toBe('deleted')
    const outcome = { result: 'active', launched_at: LAUNCHED } as const
    await cloud.endpoint.reportBuild({ instance_uuid: uuid, attempt: 1, host: 'h1', outcome }, cloud.request)
    expect(await cloud.sent()).toEqual([
      { to: 'sevbus-compute.h1', what: 'terminate_instance', args: expect.objectContaining({ void: true }) },
    ])
  })
})
