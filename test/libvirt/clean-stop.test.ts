import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { GUEST_LISTENS, GUEST_SHUTS_DOWN, makeGuestOsDisk, whyNoGuestOs } from '../servers/guest-os.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { libvirtWorker } from '../support/libvirt-worker.ts'
import { anImage, plainFlavor } from '../support/requests.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const missing = (await whyNoLibvirt()) ?? (await whyNoGuestOs())
const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const flavor = { ...plainFlavor, memory_mb: 192, root_gb: 1, ephemeral_gb: 0, swap: 0 }
const properties = { hw_firmware_type: 'bios' }
const LINUX = { ...anImage(), id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c3001', disk_format: 'raw', properties }
/** A disk with nothing on it: its guest hears nothing. */
const NOTHING = {
  ...LINUX,
  id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c3002',
  properties: { ...properties, os_shutdown_timeout: '1' },
}
const LONG = { timeout: 280_000, interval: 250 }
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

function cleanStop(): void {
  let host: PrivateLibvirt
  let cloud: ProcessCloud
  let client: SevbusClient

  beforeAll(async () => {
    host = await startLibvirt({ name: 'h1' })
    const images = join(host.folder, 'images')
    const parts = join(host.folder, 'guest-os')
    for (const folder of [images, parts]) await mkdir(folder)
    await makeGuestOsDisk(parts, join(images, `${LINUX.id}.raw`))
    await writeFile(join(images, `${NOTHING.id}.raw`), Buffer.alloc(1024 * 1024))
    cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', {
        ...libvirtWorker(host),
        // Emulated: a distribution's kernel runs so wherever the tests run.
        SEVBUS_COMPUTE_VIRT_TYPE: 'qemu',
        SEVBUS_COMPUTE_NETWORK: 'none',
        // Whoever is not heard takes longer than the test.
        SEVBUS_COMPUTE_SHUTDOWN_TIMEOUT_SECONDS: '3600',
      }),
    ])
    client = await cloud.client({ hosts: 1 })
  })
  afterAll(async () => {
    await cloud?.[Symbol.asyncDispose]()
    await host?.stop()
  })

  async function boot(image: typeof LINUX | typeof NOTHING): Promise<string> {
    const { instances } = await client.conductor.buildInstances(context, { name: 'vm', flavor, image })
    const uuid = instances[0]?.uuid ?? ''
    await resting(uuid, 'active')
    return uuid
  }

  async function resting(instance_uuid: string, vm_state: Instance['vm_state']): Promise<void> {
    await vi.waitFor(async () => {
      const { instance } = await client.conductor.getInstance(context, { instance_uuid })
      expect(instance).toMatchObject({ vm_state, task_state: null, fault: null })
    }, LONG)
  }

  async function says(instance_uuid: string, words: string): Promise<void> {
    await vi.waitFor(async () => {
      expect((await client.conductor.getConsoleOutput(context, { instance_uuid })).output).toContain(words)
    }, LONG)
  }

  it('lets the operating system of a guest end itself, at a reboot and at a stop', async () => {
    const instance_uuid = await boot(LINUX)
    await says(instance_uuid, GUEST_LISTENS)

    await client.conductor.rebootInstance(context, { instance_uuid, reboot_type: 'SOFT' })
    await resting(instance_uuid, 'active')
    await says(instance_uuid, GUEST_LISTENS)
    await client.conductor.stopInstance(context, { instance_uuid })
    await resting(instance_uuid, 'stopped')

    await says(instance_uuid, GUEST_SHUTS_DOWN)
    expect(await host.virsh('domstate', '--reason', instance_uuid)).toContain('shut off (shutdown)')
  })

  it('takes the power of a guest that has none, when the time that its image gives is over', async () => {
    const instance_uuid = await boot(NOTHING)

    await client.conductor.stopInstance(context, { instance_uuid })
    await resting(instance_uuid, 'stopped')

    expect(await host.virsh('domstate', '--reason', instance_uuid)).toContain('shut off (destroyed)')
  })
}

if (missing) notRun({ name: 'a clean stop of a guest with an operating system', ...missing })
describe.runIf(missing === undefined)("a clean stop, with a distribution's kernel in an emulated guest,", cleanStop)
