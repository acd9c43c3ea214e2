import { describe, expect, it } from 'vitest'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../src/compute/libvirt/domain-options.ts'
import type { LaunchSecurity } from '../../src/compute/libvirt/domain-spec.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { LibvirtError } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { booted, guestOf } from './support/act.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { anInstance } from './support/instances.ts'

const never = new AbortController().signal
const SEV = { model: 'amd-sev' } as const
const SLOT = [{ provider: `${HOST}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]

/** Somebody has edited the policy in its document. */
async function startedWith({ host }: ComputeWorker, instance: Instance, policy: string): Promise<void> {
  const domain = buildDomain(guestSpec(instance, DEFAULT_DOMAIN_OPTIONS), await host.capabilities(never))
  await host.powerOff(instance.uuid)
  const launchSecurity = { ...(domain.launchSecurity as LaunchSecurity), policy }
  await host.define({ ...domain, launchSecurity }, never)
  await host.startDefined(instance.uuid, never)
}

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
      expect(steps).toEqual(['domainXml', 'launch'])
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

  it('is taken down when it runs with another policy: one that lets the host look into it, or SEV in place of SEV-ES', async () => {
    const { exceptions, tellException } = told()
    await withWorker({ tellException, fake: { sev_es_slots: 2 } }, async (worker) => {
      const [debugged, lesser] = [await booted(worker, SEV), await booted(worker, { model: 'amd-sev-es' })]
      await startedWith(worker, debugged, '0x0032')
      await startedWith(worker, lesser, '0x0033')

      const isProven = [
        await worker.manager.proveGuest({ uuid: debugged.uuid, ...SEV }, never),
        await worker.manager.proveGuest({ uuid: lesser.uuid, model: 'amd-sev-es' }, never),
      ]

      expect(isProven).toEqual([false, false])
      expect([await guestOf(worker, debugged), await guestOf(worker, lesser)]).toEqual(['shutoff', 'shutoff'])
      expect(exceptions).toEqual([
        'sync_power_states: the guest was to run with amd-sev, but its policy is 0x0032, not 0x0033; it was taken down',
        'sync_power_states: the guest was to run with amd-sev-es, but its policy is 0x0033, not 0x0037; it was taken down',
      ])
    })
  })

  it('is taken down whatever its instance was before it was rebuilt, and stayed off', async () => {
    await withWorker({}, async (worker) => {
      const inClear = await booted(worker)
      await worker.manager.proveGuest({ uuid: inClear.uuid, model: null }, never)
      const instance = anInstance({ uuid: inClear.uuid, attempt: 2, ...SEV })
      await worker.manager.rebuildInstance({ instance, allocations: SLOT, power_on: false }, request)
      await worker.manager.idle()
      worker.host.reconfigure({ starts_in_clear: true })
      await worker.host.startDefined(instance.uuid, never)

      expect(await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).toBe(false)
      expect(await guestOf(worker, instance)).toBe('shutoff')
    })
  })

  it('is not taken down for what an earlier start of it was', async () => {
    const { exceptions, tellException } = told()
    let restarts = async () => {}
    const beforeStep = (step: string) => (step === 'domainXml' ? restarts() : undefined)
    await withWorker({ tellException, beforeStep }, async (worker) => {
      const instance = await booted(worker, SEV)
      await worker.host.powerOff(instance.uuid)
      worker.host.reconfigure({ launches_in_clear: true })
      await worker.host.startDefined(instance.uuid, never)
      restarts = async () => {
        await worker.host.powerOff(instance.uuid)
        await worker.host.startDefined(instance.uuid, never)
      }

      const ofEarlier = await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)
      const meanwhile = await guestOf(worker, instance)
      restarts = async () => {}
      worker.host.reconfigure({ launches_in_clear: false })

      expect([ofEarlier, meanwhile, exceptions]).toEqual([false, 'running', []])
      expect(await worker.manager.proveGuest({ uuid: instance.uuid, ...SEV }, never)).toBe(true)
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

    expect(steps).toEqual(['domainXml', 'launch'])
  })
})
