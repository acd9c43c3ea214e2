import { describe, expect, it } from 'vitest'
import type { SeenGuestState } from '../../src/objects/guest-deviation.ts'
import { correctionOf } from '../../src/objects/guest-deviation.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, active, aSelection } from './conductor-harness.ts'

const done = { result: 'done' } as const

type Conductor = Awaited<ReturnType<typeof aConductor>>

const acted = ({ endpoint, request }: Conductor, instance_uuid: string, number: number) =>
  endpoint.reportAction({ instance_uuid, attempt: 1, host: 'h1', number, outcome: done }, request)

async function resting(cloud: Conductor, state: 'active' | 'stopped' | 'paused'): Promise<Instance> {
  const { uuid } = await active(cloud)
  if (state === 'active') return cloud.instance(uuid)
  const args = { instance_uuid: uuid }
  if (state === 'stopped') await cloud.endpoint.stopInstance({ ...args, clean_shutdown: true }, cloud.request)
  else await cloud.endpoint.pauseInstance(args, cloud.request)
  await acted(cloud, uuid, 1)
  await cloud.sent()
  return cloud.instance(uuid)
}

async function see(cloud: Conductor, uuid: string, state: SeenGuestState, more: object = {}): Promise<void> {
  const { last_action = 0 } = (await cloud.endpoint.listInstanceStates({ uuids: [uuid], limit: 1 }, cloud.request))
    .instances[0] as { last_action?: number }
  const seen = { instance_uuid: uuid, attempt: 1, last_action, state, resume: false, ...more }
  await cloud.endpoint.reportGuestStates({ host: 'h1', guests: [seen] }, cloud.request)
}

describe('what is done about a guest that does something else than its instance', () => {
  it.each([
    ['active', 'running', undefined],
    ['active', 'paused', 'told'],
    ['active', 'shutoff', 'stop'],
    ['active', 'crashed', 'stop'],
    ['active', 'missing', 'stop'],
    ['paused', 'paused', undefined],
    ['paused', 'running', 'told'],
    ['paused', 'shutoff', 'force stop'],
    ['stopped', 'shutoff', undefined],
    ['stopped', 'missing', undefined],
    ['stopped', 'running', 'force stop'],
    ['stopped', 'paused', 'force stop'],
    ['suspended', 'shutoff', undefined],
    ['suspended', 'running', 'told'],
    ['building', 'missing', undefined],
    ['error', 'running', undefined],
    ['deleted', 'running', undefined],
  ] as const)("by Nova's table: %s and %s is %s", (vmState, guest, correction) => {
    expect(correctionOf(vmState, guest)).toBe(correction)
  })
})

describe.each(databaseEngines)('an instance whose guest does something else, on $name', (engine) => {
  const conductor = () => aConductor(engine, async ({ attempt }) => aSelection('h1', attempt))

  it.each([
    ['active', 'shutoff', true],
    ['active', 'missing', true],
    ['paused', 'crashed', false],
    ['stopped', 'running', false],
  ] as const)('is stopped as if it had been asked for: %s and %s', async (state, guest, clean_shutdown) => {
    await using cloud = await conductor()
    const { uuid } = await resting(cloud, state)
    const number = state === 'active' ? 1 : 2

    await see(cloud, uuid, guest)
    const sent = await cloud.sent()
    const during = await cloud.instance(uuid)
    await acted(cloud, uuid, number)

    const args = expect.objectContaining({ number, clean_shutdown })
    expect(sent).toEqual([
      { to: 'versioned_notifications.info', what: 'instance.power_off.start', args: expect.anything() },
      { to: 'sevbus-compute.h1', what: 'stop_instance', args },
    ])
    expect(during).toMatchObject({ vm_state: state, task_state: 'powering-off' })
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'stopped', task_state: null, host: 'h1' })
    expect((await cloud.sent()).map(({ what }) => what)).toEqual(['instance.power_off.end'])
    const { actions = [] } = await cloud.endpoint.explainInstance({ instance_uuid: uuid }, cloud.request)
    expect(actions.at(-1)).toMatchObject({ action: { name: 'stop', observed: guest }, status: 'completed' })
  })

  it('is started again when its host has booted and that is wanted, but only if it was to run', async () => {
    await using cloud = await conductor()
    const { uuid } = await resting(cloud, 'active')
    const paused = await resting(cloud, 'paused')

    await see(cloud, uuid, 'shutoff', { resume: true })
    await see(cloud, paused.uuid, 'shutoff', { resume: true })

    expect((await cloud.sent()).map(({ what, args }) => [what, args.reboot_type])).toEqual([
      ['instance.reboot.start', undefined],
      ['reboot_instance', 'HARD'],
      ['instance.power_off.start', undefined],
      ['stop_instance', undefined],
    ])
  })

  it('is left alone when anything was done since its host looked, is done now, or is of another try or host', async () => {
    await using cloud = await conductor()
    const { uuid } = await resting(cloud, 'stopped')
    await cloud.endpoint.startInstance({ instance_uuid: uuid }, cloud.request)
    await cloud.sent()

    await see(cloud, uuid, 'running')
    await acted(cloud, uuid, 2)
    await cloud.sent()
    await see(cloud, uuid, 'shutoff', { last_action: 1 })
    await see(cloud, uuid, 'shutoff', { attempt: 2 })
    const guest = { instance_uuid: uuid, attempt: 1, last_action: 2, state: 'shutoff', resume: false } as const
    await cloud.endpoint.reportGuestStates({ host: 'h2', guests: [guest] }, cloud.request)
    await see(cloud, uuid, 'paused')
    const unknown = { ...guest, instance_uuid: '00000000-0000-4000-8000-000000000000' }
    await cloud.endpoint.reportGuestStates({ host: 'h1', guests: [unknown] }, cloud.request)

    expect(await cloud.sent()).toEqual([])
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null })
  })

  it('is corrected once, however often that is told, and a stop that is asked for meanwhile is the same one', async () => {
    await using cloud = await conductor()
    const { uuid } = await resting(cloud, 'active')

    await Promise.all([
      see(cloud, uuid, 'shutoff', { last_action: 0 }),
      see(cloud, uuid, 'shutoff', { last_action: 0 }),
    ])
    await cloud.endpoint.stopInstance({ instance_uuid: uuid, clean_shutdown: true }, cloud.request)

    expect((await cloud.sent()).map(({ what }) => what)).toEqual(['instance.power_off.start', 'stop_instance'])
  })
})
