import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { type Consumption, consumeNotifications, type Notification } from '../../src/notification-consumer.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { libvirtWorker } from '../support/libvirt-worker.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const missing = await whyNoSevLibvirt()
const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const flavor = { ...sevFlavor, memory_mb: 64, root_gb: 1, ephemeral_gb: 0, swap: 0 }
const image = { ...anImage(), disk_format: 'raw' }
const SETTLE = { timeout: 90_000, interval: 200 }

/** A daemon that hangs, or is away: its guests run on, and nobody may take the host for dead, nor send guests there. */
function silentLibvirtd(): void {
  let host: PrivateLibvirt
  let cloud: ProcessCloud
  let client: SevbusClient
  let worker: SevbusProcess
  let guest: string
  let errors: Consumption
  const losses: Notification[] = []

  beforeAll(async () => {
    host = await startLibvirt({ name: 'h1', sev: { max_asid: 4, min_sev_asid: 1 } })
    await mkdir(join(host.folder, 'images'))
    await writeFile(join(host.folder, 'images', `${image.id}.raw`), Buffer.alloc(1024 * 1024))
    cloud = await ProcessCloud.open()
    errors = await consumeNotifications({
      url: cloud.env.SEVBUS_TRANSPORT_URL as string,
      exchange: cloud.env.SEVBUS_NOTIFICATIONS_EXCHANGE as string,
      topic: cloud.env.SEVBUS_NOTIFICATIONS_TOPIC as string,
      priorities: ['error'],
      async onNotification(told) {
        if (told.event_type === 'libvirt.connect.error') losses.push(told)
      },
    })
    const compute = cloud.compute('h1', { ...libvirtWorker(host), SEVBUS_COMPUTE_NETWORK: 'none' })
    const workers = [cloud.worker('conductor', 'c1'), cloud.worker('scheduler', 's1'), compute] as const
    worker = (await Promise.all(workers))[2]
    client = await cloud.client({ hosts: 1 })
    guest = await boot()
    expect(await ended(guest)).toEqual(['active', undefined])
  })
  afterAll(async () => {
    await host?.resume()
    await errors?.close()
    await cloud?.[Symbol.asyncDispose]()
    await host?.stop()
  })

  async function boot(): Promise<string> {
    const { instances } = await client.conductor.buildInstances(context, { name: 'vm', flavor, image, count: 1 })
    return instances[0]?.uuid ?? ''
  }

  /** State and fault, once nobody works on it any more. */
  async function ended(uuid: string) {
    return await vi.waitFor(async () => {
      const { instances } = await client.conductor.listInstances(context, {})
      const found = instances.find((instance) => instance.uuid === uuid)
      expect(found?.vm_state).not.toBe('building')
      return [found?.vm_state, found?.fault?.code]
    }, SETTLE)
  }

  const hostNow = async () => (await client.scheduler.listHosts(context, {})).hosts[0]
  const becomes = (silence: unknown) =>
    vi.waitFor(async () => expect(await hostNow()).toMatchObject({ state: 'up', hypervisor_silence: silence }), SETTLE)
  const whyNot = async (uuid: string) =>
    JSON.stringify(await client.conductor.explainInstance(context, { instance_uuid: uuid }))

  it.each([
    ['hangs', () => host.pause(), () => host.resume(), 'no answer to a question for more than 10 s'],
    ['is killed', () => host.kill(), () => host.restart(), expect.any(String)],
  ] as const)(
    'keeps the host up and its guests alive while it %s, keeps others away, and recovers',
    async (_, end, begin, reason) => {
      const before = await host.guestProcess(guest)
      await end()
      await becomes({ since: expect.any(String), reason })

      const refused = await boot()

      expect(await ended(refused)).toEqual(['error', 'NO_VALID_HOST'])
      expect(await whyNot(refused)).toContain('its hypervisor does not answer since')
      expect(worker.ended).toBeUndefined()

      await begin()
      await becomes(null)

      const next = await boot()
      expect(await ended(next)).toEqual(['active', undefined])
      expect(await host.guestProcess(guest)).toEqual(before)
      expect((await client.compute.listGuests(context, {}, { server: 'h1' })).guests).toContainEqual(
        expect.objectContaining({ uuid: guest, state: 'running' }),
      )
    },
  )

  /** Until then it is still the loss before. */
  function allConnectionsStand(): void {
    const told = worker.output.split('\n').filter((line) => line.includes('"uri":'))
    expect(told.at(-1) ?? 'never lost').toMatch(/connected to libvirt again|never lost/)
  }

  it('is told to those who watch, once however often it is tried', async () => {
    await vi.waitFor(allConnectionsStand, SETTLE)
    losses.length = 0
    await host.kill()
    await vi.waitFor(() => expect(losses).toHaveLength(1), SETTLE)
    await becomes({ since: expect.any(String), reason: expect.any(String) })
    // Tried again meanwhile, and refused.
    expect((await boot().then(ended))[0]).toBe('error')
    await host.restart()
    await becomes(null)

    expect(losses).toEqual([
      expect.objectContaining({
        publisher_id: 'nova-compute:h1',
        priority: 'ERROR',
        payload: {
          'nova_object.name': 'LibvirtErrorPayload',
          'nova_object.namespace': 'nova',
          'nova_object.version': '1.0',
          'nova_object.data': {
            ip: expect.stringMatching(/^[\d.]+$|:/),
            reason: expect.objectContaining({
              'nova_object.name': 'ExceptionPayload',
              'nova_object.data': expect.objectContaining({ exception: 'HypervisorUnavailable' }),
            }),
          },
        },
      }),
    ])
  })

  it('does not keep the worker from ending', async () => {
    await host.pause()
    await becomes({ since: expect.any(String), reason: expect.any(String) })

    worker.kill('SIGTERM')

    expect(await worker.exited()).toBe(0)
    await host.resume()
    expect(await host.virsh('domstate', guest)).toMatch(/^running/)
  })
}

if (missing) notRun({ name: 'workers of a libvirtd that hangs, or is away', ...missing })
describe.runIf(missing === undefined)('a libvirtd that does not answer', silentLibvirtd)
