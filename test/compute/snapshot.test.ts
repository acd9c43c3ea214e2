import { describe, expect, it } from 'vitest'
import { DiskCreationFailed } from '../../src/errors.ts'
import type { Instance, VmState } from '../../src/objects/instance.ts'
import { snapshotImage } from '../../src/objects/snapshot-image.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { aWorker, type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'

const id = '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2001'

const argsOf = (instance: Instance, vm_state: VmState = 'active') => ({
  instance: at(instance, vm_state, 'image_snapshot'),
  number: 1,
  image: snapshotImage(instance, { id, name: 'a-snapshot' }),
})

async function snapshot({ manager }: ComputeWorker, instance: Instance, vm_state: VmState = 'active'): Promise<void> {
  await manager.snapshotInstance(argsOf(instance, vm_state), request)
  await manager.idle()
}

const stage = ({ uuid, attempt }: Instance, task_state: string) => ({
  ...{ method: 'report_action_stage', instance_uuid: uuid, attempt, host: HOST, number: 1, task_state },
})
const DONE = { result: 'done', image_bytes: 0 }

describe('a snapshot', () => {
  it('has the guest stand still while it is copied, and no longer, and tells how far it is', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      steps.length = 0

      await snapshot(worker, instance)

      const done = steps.filter((step) => step !== 'append' && step !== 'guest')
      expect(done).toEqual(['pause', 'copyRoot', 'unpause', 'storeCopy', 'removeCopy'])
      expect(await guestOf(worker, instance)).toBe('running')
      expect(worker.host.images.get(id)?.properties).toMatchObject({ hw_mem_encryption: true })
      expect(await worker.sent()).toEqual([
        stage(instance, 'image_pending_upload'),
        stage(instance, 'image_uploading'),
        reported(instance, 1, DONE),
      ])
    })
  })

  it.each(['paused', 'stopped'] as const)('of a %s instance leaves its guest as it was', async (vm_state) => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await (vm_state === 'paused' ? worker.host.pause(instance.uuid) : worker.host.powerOff(instance.uuid))

      await snapshot(worker, instance, vm_state)

      expect(await guestOf(worker, instance)).toBe(vm_state === 'paused' ? 'paused' : 'shutoff')
      expect((await worker.sent()).at(-1)).toEqual(reported(instance, 1, DONE))
    })
  })

  it.each(['copyRoot', 'storeCopy'])(
    'that fails at %s lets the guest go on, keeps nothing, and says why',
    async (failing) => {
      const steps: string[] = []
      const beforeStep = (step: string) => {
        steps.push(step)
        if (step === failing) throw new DiskCreationFailed('no space left on device')
      }
      await withWorker({ beforeStep }, async (worker) => {
        const instance = await booted(worker)

        await snapshot(worker, instance)

        expect(await guestOf(worker, instance)).toBe('running')
        expect(steps).toContain('removeCopy')
        const outcome = failedWith('DISK_CREATION_FAILED', 'running')
        expect((await worker.sent()).at(-1)).toEqual(reported(instance, 1, outcome))
      })
    },
  )

  it('of a guest that is not here says so', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.host.destroy(instance.uuid)

      await snapshot(worker, instance)

      const outcome = failedWith('GUEST_NOT_FOUND', 'missing')
      expect(await worker.sent()).toEqual([reported(instance, 1, outcome)])
    })
  })

  it('whose worker died while the guest stood still is made by the next one, which lets it go on', async () => {
    const folder = await aFolder()
    let copying = () => {}
    const begun = new Promise<void>((resolve) => (copying = resolve))
    const beforeStep = (step: string) => {
      if (step !== 'copyRoot') return undefined
      copying()
      return new Promise<void>(() => {})
    }
    const before = await aWorker({ folder, beforeStep })
    const instance = await booted(before)
    await before.manager.snapshotInstance(argsOf(instance), request)
    await begun
    const during = await guestOf(before, instance)
    await before.journal.close()
    await before.host.close()

    await withWorker({ folder }, async (after) => {
      after.manager.recover()
      await after.manager.idle()

      expect([during, await guestOf(after, instance)]).toEqual(['paused', 'running'])
      expect((await after.sent()).at(-1)).toEqual(reported(instance, 1, DONE))
    })
  })
})
