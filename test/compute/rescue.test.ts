import { describe, expect, it } from 'vitest'
import { attribute, child, children, parseXml } from '../../src/compute/libvirt/parse-xml.ts'
import { SpawnFailed } from '../../src/errors.ts'
import type { Instance, VmState } from '../../src/objects/instance.ts'
import { rescueImage } from '../../src/objects/rescue-image.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { type ComputeWorker, request, type WorkerOptions, withWorker } from './support/compute-worker.ts'

const never = new AbortController().signal

async function rescue({ manager }: ComputeWorker, instance: Instance, number = 1, vm_state: VmState = 'active') {
  const image = rescueImage(instance, { ...instance.image, id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2002' })
  await manager.rescueInstance({ instance: at(instance, vm_state, 'rescuing'), number, image }, request)
  await manager.idle()
}

async function unrescue({ manager }: ComputeWorker, instance: Instance, number = 2): Promise<void> {
  await manager.unrescueInstance({ instance: at(instance, 'rescued', 'unrescuing'), number }, request)
  await manager.idle()
}

/** The names of its disks, as they are booted from. */
async function disksOf({ host }: ComputeWorker, { uuid }: Instance) {
  const devices = child(parseXml(await host.domainXml(uuid, never), 'domain', 'the domain'), 'devices')
  return children(devices, 'disk').map((disk) => [
    attribute(child(disk, 'source'), 'file')?.split('/').at(-1),
    attribute(child(disk, 'boot'), 'order'),
  ])
}

const failingOnce = (step: string): WorkerOptions => {
  let isToFail = false
  return {
    beforeStep: (each) => {
      if (each === 'createDisks') isToFail = true
      if (each !== step || !isToFail) return
      isToFail = false
      throw new SpawnFailed('QEMU died')
    },
  }
}

describe('a rescue', () => {
  it('boots the guest from the other image with its own disk beside that, encrypted as it was, and back', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })

      await rescue(worker, instance)
      const rescued = await disksOf(worker, instance)
      const launch = await worker.host.launch(instance.uuid, never)
      const keys = (await worker.host.encryptionKeys(never))?.sev.current
      await rescue(worker, instance)
      await unrescue(worker, instance)

      expect(rescued).toEqual([
        ['disk.rescue', '1'],
        ['disk', '2'],
      ])
      expect([launch.isEncrypted, keys]).toEqual([true, 1])
      expect(await disksOf(worker, instance)).toEqual([['disk', '1']])
      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toEqual([reported(instance, 1), reported(instance, 1), reported(instance, 2)])
    })
  })

  it.each([
    ['active', 'running', 'spawn'],
    ['stopped', 'shutoff', 'spawn'],
  ] as const)('of an %s instance that fails leaves its guest %s, as it was', async (vm_state, after, step) => {
    const options = failingOnce(step)
    await withWorker({ beforeStep: (each) => (armed ? options.beforeStep?.(each) : undefined) }, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      if (vm_state === 'stopped') await worker.host.powerOff(instance.uuid)
      armed = true

      await rescue(worker, instance, 1, vm_state)
      armed = false

      expect(await guestOf(worker, instance)).toBe(after)
      if (after === 'running') expect(await disksOf(worker, instance)).toEqual([['disk', '1']])
      expect(await worker.sent()).toEqual([reported(instance, 1, failedWith('SPAWN_FAILED', after))])
    })
  })
  let armed = false

  it('that QEMU does not encrypt does not run', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      worker.host.reconfigure({ launches_in_clear: true })

      await rescue(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      const outcome = failedWith('ENCRYPTION_NOT_EFFECTIVE', 'shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 1, outcome)])
    })
  })

  it('of a guest that is not here says so', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.host.destroy(instance.uuid)

      await rescue(worker, instance)

      expect(await worker.sent()).toEqual([reported(instance, 1, failedWith('GUEST_NOT_FOUND', 'missing'))])
    })
  })
})
