import { describe, expect, it } from 'vitest'
import { LibvirtError } from '../../src/errors.ts'
import { booted, guestOf } from './support/act.ts'
import { withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'

const never = new AbortController().signal
const SEV = { model: 'amd-sev' } as const

/** What is told of work that failed: what it was, and why. */
function told() {
  const exceptions: string[] = []
  const tellException = async (thrown: unknown, failed: string) => {
    exceptions.push(`${failed}: ${(thrown as Error).message}`)
  }
  return { exceptions, tellException }
}

describe('a guest that somebody else has started', () => {
  it('goes on when it is encrypted as it is to be, and is asked once', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      await worker.host.startDefined(instance.uuid, never)
      steps.length = 0

      const isProven = [
        await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never),
        await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never),
      ]

      expect(isProven).toEqual([true, true])
      expect(steps).toEqual(['domainXml'])
      expect(await guestOf(worker, instance)).toBe('running')
    })
  })

  it('is taken down when it is not encrypted, and that is told; its disks stay', async () => {
    const { exceptions, tellException } = told()
    await withWorker({ tellException }, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      worker.host.reconfigure({ starts_in_clear: true })
      await worker.host.startDefined(instance.uuid, never)

      const isProven = await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)

      expect(isProven).toBe(false)
      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect((await worker.leftovers()).disks).toEqual([instance.uuid])
      expect(exceptions).toEqual([
        'sync_power_states: the guest was to run with amd-sev, but it runs without launchSecurity; it was taken down',
      ])
    })
  })

  it('is proven as well while it stands still', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      await worker.host.startDefined(instance.uuid, never)
      await worker.host.pause(instance.uuid)

      expect(await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).toBe(true)
      expect(await guestOf(worker, instance)).toBe('paused')
    })
  })

  it('is nothing to tell of when it ends before it was asked', async () => {
    const { exceptions, tellException } = told()
    let ends = async () => {}
    const beforeStep = (step: string) => (step === 'domainXml' ? ends() : undefined)
    await withWorker({ tellException, beforeStep }, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      await worker.host.startDefined(instance.uuid, never)
      ends = () => worker.host.powerOff(instance.uuid)

      expect(await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).toBe(false)
      expect(exceptions).toEqual([])
    })
  })

  it('goes on as long as the hypervisor does not say what it is, and is asked again', async () => {
    let isDeaf = false
    const beforeStep = (step: string) => {
      if (isDeaf && step === 'domainXml')
        throw new LibvirtError('cannot acquire state change lock', { libvirt_code: 68 })
    }
    await withWorker({ beforeStep }, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      await worker.host.startDefined(instance.uuid, never)
      isDeaf = true

      await expect(worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).rejects.toThrow(LibvirtError)
      const meanwhile = await guestOf(worker, instance)
      isDeaf = false

      expect(await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).toBe(true)
      expect(meanwhile).toBe('running')
    })
  })

  it('has nothing to prove when its instance runs in clear', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.host.powerOff(instance.uuid)
      await worker.host.startDefined(instance.uuid, never)

      expect(await worker.manager.proveGuest({ uuid: instance.uuid, model: null }, never)).toBe(true)
    })
  })
})

describe('a guest that was started by an earlier worker', () => {
  it('proves its encryption once more', async () => {
    const folder = await aFolder()
    let uuid = ''
    await withWorker({ folder }, async (worker) => {
      uuid = (await booted(worker, SEV)).uuid
    })
    const steps: string[] = []

    await withWorker({ folder, beforeStep: (step) => void steps.push(step) }, async (worker) => {
      expect(await worker.manager.proveGuest({ uuid, ...SEV }, never)).toBe(true)
    })

    expect(steps).toEqual(['domainXml'])
  })
})
