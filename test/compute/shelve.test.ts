import { describe, expect, it } from 'vitest'
import type { Instance } from '../../src/objects/instance.ts'
import { shelvedImage } from '../../src/objects/snapshot-image.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { killsDuring } from './support/kills-during.ts'

const IMAGE_ID = '33333333-2222-3333-4444-555555555555'
const imageOf = (instance: Instance) => shelvedImage(instance, IMAGE_ID)
const done = (instance: Instance, number = 1) => reported(instance, number, { result: 'done', image_bytes: 0 })
const stage = ({ uuid, attempt }: Instance, task_state: string) => ({
  ...{ method: 'report_action_stage', instance_uuid: uuid, attempt, host: HOST, number: 1, task_state },
})

async function shelve(worker: ComputeWorker, instance: Instance, clean_shutdown = true, number = 1) {
  const args = {
    instance: at(instance, instance.vm_state, 'shelving'),
    number,
    clean_shutdown,
    image: imageOf(instance),
  }
  await worker.manager.shelveInstance(args, request)
  await worker.manager.idle()
}

const remove = (worker: ComputeWorker, { uuid }: Instance) =>
  worker.manager.removeShelvedImage({ instance_uuid: uuid, image_id: IMAGE_ID }, request)

describe('shelving on a host', () => {
  it('asks the guest to shut down, keeps its disk as an image, and tells how far it is; asked again, once more the same', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      steps.length = 0

      await shelve(worker, instance)
      const all = steps.filter((step) => step !== 'guest' && step !== 'append')
      await shelve(worker, instance)

      expect(all).toEqual(['shutdown', 'powerOff', 'copyRoot', 'storeCopy', 'removeCopy'])
      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(worker.host.images.get(IMAGE_ID)).toEqual(imageOf(instance))
      expect(await worker.sent()).toEqual([
        ...['shelving_image_pending_upload', 'shelving_image_uploading'].map((task) => stage(instance, task)),
        ...[done(instance), done(instance)],
      ])
    })
  })

  it('that fails starts the guest again, encrypted as it was; one that was off stays off', async () => {
    let isBroken = false
    const beforeStep = (step: string) => {
      if (isBroken && step === 'storeCopy') throw new Error('no space left')
    }
    await withWorker({ beforeStep }, async (worker) => {
      const running = await booted(worker, { model: 'amd-sev' })
      const off: Instance = { ...(await booted(worker)), vm_state: 'stopped' }
      await worker.host.powerOff(off.uuid)
      isBroken = true

      for (const instance of [running, off]) await shelve(worker, instance)

      expect([await guestOf(worker, running), await guestOf(worker, off)]).toEqual(['running', 'shutoff'])
      const sent = await worker.sent()
      expect(sent).toContainEqual(reported(running, 1, failedWith('INTERNAL_ERROR', 'running')))
      expect(sent).toContainEqual(reported(off, 1, failedWith('INTERNAL_ERROR', 'shutoff')))
    })
  })

  it('of one that is suspended keeps its disk; where that fails its saved memory is there still', async () => {
    let isBroken = true
    const beforeStep = (step: string) => {
      if (isBroken && step === 'storeCopy') throw new Error('no space left')
    }
    await withWorker({ beforeStep }, async (worker) => {
      const instance: Instance = { ...(await booted(worker)), vm_state: 'suspended' }
      await worker.host.suspend(instance.uuid)

      await shelve(worker, instance)
      expect((await worker.sent()).at(-1)).toEqual(reported(instance, 1, failedWith('INTERNAL_ERROR', 'shutoff')))
      expect(await worker.host.hasSavedMemory(instance.uuid, new AbortController().signal)).toBe(true)

      isBroken = false
      await shelve(worker, instance, true, 2)
      expect((await worker.sent()).at(-1)).toEqual(done(instance, 2))
      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.idle()
      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
    })
  })

  it('removes the image of its own instance, and no other; a deletion that comes over it finds it done or undone', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await shelve(worker, instance)

      await remove(worker, { ...instance, uuid: '99999999-0000-4000-8000-000000000009' })
      expect(worker.host.images.has(IMAGE_ID)).toBe(true)
      for (const _ of ['once', 'twice']) await remove(worker, instance)
      expect(worker.host.images.has(IMAGE_ID)).toBe(false)

      const other = await booted(worker)
      const args = { instance: at(other, 'active', 'shelving'), number: 1, clean_shutdown: true, image: imageOf(other) }
      await worker.manager.shelveInstance(args, request)
      await worker.manager.terminateInstance({ instance: other, void: false }, request)
      await remove(worker, other)
      expect([await guestOf(worker, other), worker.host.images.has(IMAGE_ID)]).toEqual([undefined, false])
    })
  })

  it('ends with one image wherever its worker is killed', async () => {
    const { prepared: instance, kills } = await killsDuring((worker) => booted(worker), shelve)

    expect(kills.length).toBeGreaterThan(6)
    for (const { folder } of kills) {
      await withWorker({ folder }, async (next) => {
        next.manager.recover()
        await shelve(next, instance)

        expect(await guestOf(next, instance)).toBe('shutoff')
        expect((await next.sent()).at(-1)).toEqual(done(instance))
      })
    }
  })
})
