import { describe, expect, it } from 'vitest'
import { resendUnfinished } from '../../src/conductor/resend.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { ActionOutcome } from '../../src/objects/instance-action.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, aSelection, migrateData } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:02:00.000Z'
const withCode = (code: string) => expect.objectContaining({ code })
const toHost = (what: string, number: number, more: object = {}) => ({
  to: 'sevbus-compute.h1',
  what,
  args: expect.objectContaining({ number, ...more }),
})
const event = (what: string, state: string, more: object = {}) => ({
  to: expect.stringMatching(/^versioned_notifications/),
  what,
  args: expect.objectContaining({
    'nova_object.data': expect.objectContaining({ state, task_state: null, host: 'h1', ...more }),
  }),
})
const begins = (what: string) => ({
  to: 'versioned_notifications.info',
  what: `instance.${what}.start`,
  args: expect.objectContaining({ 'nova_object.data': expect.objectContaining({ host: 'h1' }) }),
})
const interrupted = (what: string, exception_message: string) => ({
  to: 'versioned_notifications.error',
  what: `instance.${what}.error`,
  args: expect.objectContaining({
    'nova_object.data': expect.objectContaining({
      task_state: null,
      fault: expect.objectContaining({
        'nova_object.data': expect.objectContaining({ exception: 'ActionInterrupted', exception_message }),
      }),
    }),
  }),
})
const nameOf = (wire: string) => wire.replace('_instance', '')
const FAULT = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LAUNCHED }
const done = { result: 'done' } as const
const failed = (guest: 'running' | 'shutoff' | 'missing') => ({ result: 'failed', fault: FAULT, guest }) as const

type Conductor = Awaited<ReturnType<typeof aConductor>>

async function active(conductor: Conductor): Promise<Instance> {
  const { uuid } = await conductor.accept()
  await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
  const outcome = { result: 'active', launched_at: LAUNCHED } as const
  const report = { instance_uuid: uuid, attempt: 1, host: 'h1', outcome }
  await conductor.endpoint.reportBuild(report, conductor.request)
  await conductor.sent()
  return conductor.instance(uuid)
}

async function stopped(conductor: Conductor): Promise<Instance> {
  const { uuid } = await active(conductor)
  await stop(conductor, uuid)
  await report(conductor, uuid, 1)
  await conductor.sent()
  return conductor.instance(uuid)
}

const stop = ({ endpoint, request }: Conductor, instance_uuid: string, clean_shutdown = true) =>
  endpoint.stopInstance({ instance_uuid, clean_shutdown }, request)

const start = ({ endpoint, request }: Conductor, instance_uuid: string) =>
  endpoint.startInstance({ instance_uuid }, request)

const report = (
  { endpoint, request }: Conductor,
  instance_uuid: string,
  number: number,
  outcome: ActionOutcome = done,
) => endpoint.reportAction({ instance_uuid, attempt: 1, host: 'h1', number, outcome }, request)

async function actionsOf({ endpoint, request }: Conductor, instance_uuid: string) {
  const { actions = [] } = await endpoint.explainInstance({ instance_uuid }, request)
  return actions.map(({ number, action, status, fault }) => [number, action.name, status, fault?.code ?? null])
}

describe.each(databaseEngines)('actions of an instance, on $name', (engine) => {
  const conductor = () => aConductor(engine, async ({ attempt }) => aSelection('h1', attempt))

  it('a stop and a start go to its host, and make it stopped and active when they are reported', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)

    const { instance: stopping } = await stop(cloud, uuid)
    const told = await cloud.sent()
    await report(cloud, uuid, 1)
    const off = await cloud.instance(uuid)
    const toldOff = await cloud.sent()
    await start(cloud, uuid)
    const toldStart = await cloud.sent()
    await report(cloud, uuid, 2)

    expect(stopping).toMatchObject({ vm_state: 'active', task_state: 'powering-off', host: 'h1' })
    expect(told).toEqual([begins('power_off'), toHost('stop_instance', 1, { clean_shutdown: true })])
    expect(off).toMatchObject({ vm_state: 'stopped', task_state: null, host: 'h1', launched_at: LAUNCHED })
    expect(toldOff).toEqual([event('instance.power_off.end', 'stopped', { power_state: 'shutdown' })])
    expect(toldStart).toEqual([begins('power_on'), toHost('start_instance', 2)])
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null, fault: null })
    expect(await cloud.sent()).toEqual([event('instance.power_on.end', 'active', { power_state: 'running' })])
    expect(await actionsOf(cloud, uuid)).toEqual([
      [1, 'stop', 'completed', null],
      [2, 'start', 'completed', null],
    ])
  })

  it('an instance that is not as an action needs it is refused by name, and nothing is sent', async () => {
    await using cloud = await conductor()
    const building = await cloud.accept()
    const { uuid } = await active(cloud)
    await cloud.sent()

    await expect(start(cloud, uuid)).rejects.toMatchObject({
      code: 'INSTANCE_INVALID_STATE',
      message: `instance ${uuid} is active: start needs an instance that is stopped, on a host, and at rest`,
      details: { action: 'start', vm_state: 'active', task_state: null, allowed: ['stopped'] },
    })
    await expect(stop(cloud, building.uuid)).rejects.toThrow('is building and busy (scheduling)')
    expect(await cloud.sent()).toEqual([])
  })

  it('asked for twice while it is done, it is one action; another one is refused meanwhile', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)

    const answers = await Promise.all([stop(cloud, uuid), stop(cloud, uuid)])

    expect(answers.map(({ instance }) => instance.task_state)).toEqual(['powering-off', 'powering-off'])
    await expect(stop(cloud, uuid, false)).rejects.toThrow('is active and busy (powering-off)')
    await expect(start(cloud, uuid)).rejects.toThrow(withCode('INSTANCE_INVALID_STATE'))
    expect(await cloud.sent()).toEqual([begins('power_off'), toHost('stop_instance', 1)])
  })

  it.each([
    ['start', 'stopped', 'shutoff', 'stopped'],
    ['start', 'stopped', 'running', 'active'],
    ['start', 'stopped', 'missing', 'error'],
    ['stop', 'active', 'running', 'active'],
    ['stop', 'active', 'shutoff', 'error'],
  ] as const)(
    'a %s of a %s instance that fails with its guest %s leaves it %s, with the reason',
    async (what, _before, guest, after) => {
      await using cloud = await conductor()
      const { uuid } = what === 'start' ? await stopped(cloud) : await active(cloud)
      const number = what === 'start' ? 2 : 1
      await (what === 'start' ? start : stop)(cloud, uuid)
      await cloud.sent()

      await report(cloud, uuid, number, failed(guest))

      expect(await cloud.instance(uuid)).toMatchObject({ vm_state: after, task_state: null, host: 'h1', fault: FAULT })
      const name = what === 'start' ? 'power_on' : 'power_off'
      expect(await cloud.sent()).toEqual([
        event(`instance.${name}.error`, after, {
          fault: expect.objectContaining({ 'nova_object.name': 'ExceptionPayload' }),
        }),
      ])
      expect((await actionsOf(cloud, uuid)).at(-1)).toEqual([number, what, 'failed', 'SPAWN_FAILED'])
    },
  )

  it('a reason why one has failed is told until another has succeeded', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    await stop(cloud, uuid)
    await report(cloud, uuid, 1, failed('running'))

    await stop(cloud, uuid)
    const stopping = await cloud.instance(uuid)
    await report(cloud, uuid, 2)

    expect(stopping.fault).toEqual(FAULT)
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'stopped', fault: null })
  })

  it('told twice, or late, its end changes nothing', async () => {
    await using cloud = await conductor()
    const { uuid } = await stopped(cloud)
    await start(cloud, uuid)
    await cloud.sent()

    await report(cloud, uuid, 1)
    const during = await cloud.instance(uuid)
    await report(cloud, uuid, 2)
    await report(cloud, uuid, 2)
    await report(cloud, uuid, 1)

    expect(during.task_state).toBe('powering-on')
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null })
    expect(await cloud.sent()).toEqual([event('instance.power_on.end', 'active')])
  })

  it('a deletion wins over it', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    await stop(cloud, uuid)
    await cloud.sent()

    await cloud.endpoint.deleteInstance({ instance_uuid: uuid }, cloud.request)
    await report(cloud, uuid, 1)

    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: 'deleting' })
    expect((await cloud.sent()).map(({ what }) => what)).toEqual([
      ...['instance.power_off.error', 'instance.delete.start', 'terminate_instance'],
    ])
    expect(await actionsOf(cloud, uuid)).toEqual([[1, 'stop', 'given up', null]])
    const terminated = { instance_uuid: uuid, attempt: 1, host: 'h1', terminated_at: LAUNCHED }
    await cloud.endpoint.reportTerminated(terminated, cloud.request)
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'deleted', host: null })
  })

  it('a suspend of an encrypted instance is refused before anything changes', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)

    await expect(cloud.endpoint.suspendInstance({ instance_uuid: uuid }, cloud.request)).rejects.toMatchObject({
      code: 'OPERATION_NOT_SUPPORTED_FOR_SEV',
      message: `operation suspend is not supported for instance ${uuid}: it has SEV`,
      details: { operation: 'suspend', model: 'amd-sev' },
    })

    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null })
    expect(await cloud.sent()).toEqual([])
    expect(await actionsOf(cloud, uuid)).toEqual([])
  })

  it('a pause that hangs gives way to a hard reboot, and its late end is nothing', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    await cloud.endpoint.pauseInstance({ instance_uuid: uuid }, cloud.request)

    await cloud.endpoint.rebootInstance({ instance_uuid: uuid, reboot_type: 'HARD' }, cloud.request)
    const sent = await cloud.sent()
    await report(cloud, uuid, 1)
    const during = await cloud.instance(uuid)
    await report(cloud, uuid, 2)

    expect(sent).toEqual([
      begins('pause'),
      toHost('pause_instance', 1),
      interrupted('pause', 'pause: reboot takes its place'),
      begins('reboot'),
      toHost('reboot_instance', 2, { reboot_type: 'HARD' }),
    ])
    expect(during).toMatchObject({ vm_state: 'active', task_state: 'rebooting_hard' })
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: null })
    expect(await actionsOf(cloud, uuid)).toEqual([
      [1, 'pause', 'given up', null],
      [2, 'reboot', 'completed', null],
    ])
  })

  it.each([
    ['pauseInstance', 'pause_instance', 'paused', 'unpauseInstance', 'unpause_instance'],
    ['rebootInstance', 'reboot_instance', 'active', 'pauseInstance', 'pause_instance'],
  ] as const)('a %s makes it %s', async (first, wire, state, second, secondWire) => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    const args = { instance_uuid: uuid, reboot_type: 'SOFT' as const }

    await cloud.endpoint[first](args, cloud.request)
    const sent = await cloud.sent()
    await report(cloud, uuid, 1)
    const resting = await cloud.instance(uuid)
    await cloud.sent()
    await cloud.endpoint[second](args, cloud.request)

    expect(sent).toEqual([begins(nameOf(wire)), toHost(wire, 1)])
    expect(resting).toMatchObject({ vm_state: state, task_state: null })
    expect(await cloud.sent()).toEqual([begins(nameOf(secondWire)), toHost(secondWire, 2)])
  })

  it('that nothing is heard of is told to the host again, under the same number', async () => {
    const clock = { now: new Date() }
    await using cloud = await aConductor(engine, async () => aSelection('h1'), { now: () => clock.now })
    const { uuid } = await active(cloud)
    await stop(cloud, uuid)
    await cloud.sent()

    clock.now = new Date(clock.now.getTime() + 2 * cloud.ports.buildTimeoutMs)
    expect(await reviveOverdue(cloud.ports)).toBe(1)
    const revived = await cloud.sent()
    await resendUnfinished(cloud.ports)

    expect(revived).toEqual([toHost('stop_instance', 1)])
    expect(await cloud.sent()).toEqual([toHost('stop_instance', 1)])
  })

  it('of a host that is dead gives way to an evacuation', async () => {
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection('h2', attempt))
    const { uuid } = await cloud.accept()
    await cloud.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, cloud.request)
    const outcome = { result: 'active', launched_at: LAUNCHED } as const
    await cloud.endpoint.reportBuild({ instance_uuid: uuid, attempt: 1, host: 'h2', outcome }, cloud.request)
    await stop(cloud, uuid)
    cloud.states.set('h2', 'down')

    await cloud.endpoint.evacuateInstance({ instance_uuid: uuid }, cloud.request)

    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'active', task_state: 'rebuilding', attempt: 2 })
    expect(await actionsOf(cloud, uuid)).toEqual([[1, 'stop', 'given up', null]])
  })

  it('an instance that was stopped is stopped again where it is evacuated to', async () => {
    let host = 'h1'
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection(host, attempt))
    const { uuid } = await stopped(cloud)
    cloud.states.set('h1', 'down')
    host = 'h2'
    await cloud.endpoint.evacuateInstance({ instance_uuid: uuid }, cloud.request)
    await cloud.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, cloud.request)
    const moving = await cloud.instance(uuid)
    const outcome = { result: 'active', launched_at: LAUNCHED } as const
    await cloud.endpoint.reportBuild({ instance_uuid: uuid, attempt: 2, host: 'h2', outcome }, cloud.request)
    await cloud.sent()

    await cloud.endpoint.continueBuild({ instance_uuid: uuid, attempt: 2 }, cloud.request)
    const sent = await cloud.sent()
    const of2 = { instance_uuid: uuid, attempt: 2, host: 'h2', number: 2, outcome: done }
    await cloud.endpoint.reportAction(of2, cloud.request)

    expect(moving).toMatchObject({ vm_state: 'stopped', task_state: 'rebuild_spawning', host: 'h2' })
    expect(sent).toContainEqual({ ...toHost('stop_instance', 2), to: 'sevbus-compute.h2' })
    expect(await cloud.instance(uuid)).toMatchObject({ vm_state: 'stopped', task_state: null, host: 'h2', attempt: 2 })
  })

  const volume_id = 'a07f71dc-8151-4e7d-a0cc-cd24a3f11113'
  const path = '/srv/volumes/data.raw'
  const mac = 'fa:16:3e:00:00:77'

  it('a volume is the instance’s when its host has plugged it in, and no more when that has taken it out', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    const { endpoint, request } = cloud

    await endpoint.attachVolume({ instance_uuid: uuid, volume_id, path }, request)
    const toldAttach = await cloud.sent()
    const during = await cloud.instance(uuid)
    await report(cloud, uuid, 1, { result: 'done', device: 'sdb' })
    const grown = await cloud.instance(uuid)
    const toldEnd = await cloud.sent()
    const { instance: again } = await endpoint.attachVolume({ instance_uuid: uuid, volume_id, path }, request)
    await endpoint.detachVolume({ instance_uuid: uuid, volume_id }, request)
    const toldDetach = await cloud.sent()
    await report(cloud, uuid, 2)

    const bus = 'scsi'
    expect(toldAttach).toEqual([
      begins('volume_attach'),
      toHost('attach_volume', 1, { volume: { volume_id, path, bus } }),
    ])
    expect(during).toMatchObject({ vm_state: 'active', task_state: 'attaching-volume', volumes: [] })
    expect(grown.volumes).toEqual([{ volume_id, path, bus, device: 'sdb' }])
    expect(toldEnd).toEqual([event('instance.volume_attach.end', 'active', { volume_id })])
    expect(again).toEqual(grown)
    expect(toldDetach).toEqual([begins('volume_detach'), toHost('detach_volume', 2, { volume_id })])
    expect((await cloud.instance(uuid)).volumes).toEqual([])
    expect(await cloud.sent()).toEqual([event('instance.volume_detach.end', 'active', { volume_id })])
    const { actions } = await endpoint.explainInstance({ instance_uuid: uuid }, request)
    expect(actions?.map(({ result }) => result)).toEqual([{ device: 'sdb' }, {}])
  })

  it('an interface brings its address along, and takes it away', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    const { endpoint, request } = cloud
    const before = (await cloud.instance(uuid)).ip_addresses
    const asked = { instance_uuid: uuid, mac: mac.toUpperCase(), bridge: 'br1', address: '10.1.0.7' }

    await endpoint.attachInterface({ ...asked, version: 4, label: 'storage', vnic_type: 'normal' }, request)
    await report(cloud, uuid, 1)
    const grown = await cloud.instance(uuid)
    await endpoint.detachInterface({ instance_uuid: uuid, mac }, request)
    await report(cloud, uuid, 2)

    const ip_address = { address: '10.1.0.7', version: 4, mac, label: 'storage' }
    expect(grown.interfaces).toEqual([{ mac, source: { kind: 'bridge', bridge: 'br1' }, ip_address }])
    expect(grown.ip_addresses).toEqual([...before, ip_address])
    expect(await cloud.instance(uuid)).toMatchObject({ interfaces: [], ip_addresses: before })
  })

  it('a device that cannot be attached is refused before anything is sent', async () => {
    await using cloud = await conductor()
    const { uuid } = await active(cloud)
    await cloud.sent()
    const { endpoint, request } = cloud
    const ofInterface = { instance_uuid: uuid, mac, version: 4, label: '', vnic_type: 'normal' } as const

    await expect(
      endpoint.attachVolume({ instance_uuid: uuid, volume_id, path, bus: 'ide' }, request),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { field: 'bus', value: 'ide' } })
    await expect(endpoint.detachVolume({ instance_uuid: uuid, volume_id }, request)).rejects.toThrow(
      withCode('DEVICE_NOT_FOUND'),
    )
    await expect(
      endpoint.attachInterface({ ...ofInterface, network: 'default', bridge: 'br0' }, request),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { field: 'bridge' } })
    await expect(endpoint.attachInterface({ ...ofInterface, vnic_type: 'direct' }, request)).rejects.toMatchObject({
      code: 'OPERATION_NOT_SUPPORTED_FOR_SEV',
      details: { operation: 'attach_interface with vnic_type=direct', model: 'amd-sev' },
    })
    expect(await cloud.sent()).toEqual([])
  })

  it('a question about a console goes to the host that has the guest, and is refused of one that none has', async () => {
    const asked: unknown[] = []
    const console = { host: '10.0.0.1', port: 5900, tls_port: null, internal_access_path: null }
    const answer =
      <T>(reply: T) =>
      async (_context: unknown, args: object, to: { server?: string } = {}) => {
        asked.push([to.server, args])
        return reply
      }
    const compute = {
      getConsoleOutput: answer({ output: 'login: ' }),
      getVncConsole: answer({ console }),
      getSpiceConsole: answer({ console }),
      getSerialConsole: answer({ console }),
      prepResize: answer({ storage: 'simulated' }),
      checkCanLiveMigrateSource: answer({ storage: 'simulated', disks: { folder: '/', files: [] } }),
      checkCanLiveMigrateDestination: answer(null),
      preLiveMigration: answer({ migrate_data: migrateData('h2') }),
    }
    await using cloud = await aConductor(engine, async ({ attempt }) => aSelection('h1', attempt), { compute })
    const { uuid: waiting } = await cloud.accept()
    const { uuid: instance_uuid } = await active(cloud)
    const { endpoint, request } = cloud

    expect(await endpoint.getConsoleOutput({ instance_uuid, tail_length: 5 }, request)).toEqual({ output: 'login: ' })
    expect(await endpoint.getVncConsole({ instance_uuid }, request)).toEqual({ console })
    expect(await endpoint.getSpiceConsole({ instance_uuid }, request)).toEqual({ console })
    expect(await endpoint.getSerialConsole({ instance_uuid }, request)).toEqual({ console })
    await expect(endpoint.getVncConsole({ instance_uuid: waiting }, request)).rejects.toThrow('on no host')

    const args = { instance_uuid }
    expect(asked).toEqual([
      ['h1', { ...args, tail_length: 5 }],
      ['h1', args],
      ['h1', args],
      ['h1', args],
    ])
  })

  it('a snapshot goes through its stages, as its host tells them, and what comes late of one is nothing', async () => {
    await using cloud = await conductor()
    const { uuid: instance_uuid } = await active(cloud)
    const { endpoint, request } = cloud
    const image_id = '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2001'
    const reach = (task_state: 'image_pending_upload' | 'image_uploading') =>
      endpoint.reportActionStage({ instance_uuid, attempt: 1, host: 'h1', number: 1, task_state }, request)
    const task = async () => (await cloud.instance(instance_uuid)).task_state

    const { image } = await endpoint.createSnapshot({ instance_uuid, image_id, name: 'snap' }, request)
    const told = await cloud.sent()
    const tasks = [await task()]
    await reach('image_pending_upload')
    tasks.push(await task())
    const again = await endpoint.createSnapshot({ instance_uuid, image_id, name: 'snap' }, request)
    await reach('image_uploading')
    tasks.push(await task())
    await report(cloud, instance_uuid, 1, { result: 'done', image_bytes: 4096 })
    await reach('image_uploading')

    expect(image).toMatchObject({ id: image_id, name: 'snap', properties: { hw_mem_encryption: true } })
    expect(again.image).toEqual(image)
    expect(told).toEqual([begins('snapshot'), toHost('snapshot_instance', 1, { image })])
    expect([...tasks, await task()]).toEqual(['image_snapshot', 'image_pending_upload', 'image_uploading', null])
    expect(await cloud.sent()).toEqual([event('instance.snapshot.end', 'active', { snapshot_image_id: image_id })])
    const { actions } = await endpoint.explainInstance({ instance_uuid }, request)
    expect(actions?.[0]).toMatchObject({ status: 'completed', result: { image_bytes: 4096 } })
  })

  it('a rescue keeps the encryption, or is refused, and an instance that is rescued goes back to its own disk', async () => {
    await using cloud = await conductor()
    const { uuid: instance_uuid, image } = await active(cloud)
    const { endpoint, request } = cloud
    const bios = { ...image, properties: { hw_firmware_type: 'bios' } }
    await cloud.sent()

    await expect(endpoint.rescueInstance({ instance_uuid, image: bios }, request)).rejects.toThrow(
      withCode('FLAVOR_IMAGE_CONFLICT'),
    )
    await endpoint.rescueInstance({ instance_uuid }, request)
    const told = await cloud.sent()
    await report(cloud, instance_uuid, 1)
    const rescued = await cloud.instance(instance_uuid)
    const toldEnd = await cloud.sent()
    await endpoint.unrescueInstance({ instance_uuid }, request)
    const toldBack = await cloud.sent()
    await report(cloud, instance_uuid, 2)

    const asked = { ...image.properties, hw_mem_encryption: true, hw_mem_encryption_model: 'amd-sev' }
    const by = { image: expect.objectContaining({ properties: asked }) }
    expect(told).toEqual([begins('rescue'), toHost('rescue_instance', 1, by)])
    expect(rescued).toMatchObject({ vm_state: 'rescued', task_state: null, host: 'h1' })
    const ref = { rescue_image_ref: image.id ?? null, power_state: 'running' }
    // As it was before, in the period that has begun.
    const asItWas = { state: 'active', task_state: 'rescuing', audit_period: expect.anything() }
    expect(toldEnd).toEqual([event('instance.exists', 'active', asItWas), event('instance.rescue.end', 'rescued', ref)])
    expect(toldBack).toEqual([begins('unrescue'), toHost('unrescue_instance', 2)])
    expect(await cloud.instance(instance_uuid)).toMatchObject({ vm_state: 'active', task_state: null })
  })
})
