import { describe, expect, it } from 'vitest'
import { attribute, child, children, parseXml } from '../../src/compute/libvirt/parse-xml.ts'
import { VolumeAttachFailed } from '../../src/errors.ts'
import type { AttachedInterface, AttachedVolume } from '../../src/objects/attached-devices.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { at, booted, failedWith, reported } from './support/act.ts'
import { aWorker, type ComputeWorker, request, type WorkerOptions, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'

const volume = {
  volume_id: 'a07f71dc-8151-4e7d-a0cc-cd24a3f11113',
  path: '/srv/volumes/data.raw',
  bus: 'scsi',
} as const
const attached: AttachedVolume = { ...volume, device: 'sdb' }
const plugged: AttachedInterface = {
  mac: 'fa:16:3e:00:00:77',
  source: { kind: 'bridge', bridge: 'br-storage' },
  ip_address: null,
}
const domainOptions = {
  volumeFolders: ['/srv/volumes'],
  attachableNetworks: [{ kind: 'bridge', bridge: 'br-storage' }],
} as const
const never = new AbortController().signal
const patience = { timeoutMs: 30, askAgainMs: 10, lookMs: 1 }

/** What the guest has by its document: files of its disks, and addresses of its interfaces. */
async function devicesOf({ host }: ComputeWorker, { uuid }: Instance) {
  const devices = child(parseXml(await host.domainXml(uuid, never), 'domain', 'the domain'), 'devices')
  const disks = children(devices, 'disk').map((disk) => attribute(child(disk, 'source'), 'file'))
  const macs = children(devices, 'interface').map((each) => attribute(child(each, 'mac'), 'address'))
  return { disks: disks.filter((file) => file?.startsWith('/srv')), macs }
}

async function attachVolume({ manager }: ComputeWorker, instance: Instance, number = 1, asked = volume): Promise<void> {
  const acting = at(instance, 'active', 'attaching-volume')
  await manager.attachVolume({ instance: acting, number, volume: asked }, request)
  await manager.idle()
}

async function detachVolume({ manager }: ComputeWorker, instance: Instance, number = 2): Promise<void> {
  const acting = at({ ...instance, volumes: [attached] }, 'active', 'detaching-volume')
  await manager.detachVolume({ instance: acting, number, volume_id: volume.volume_id }, request)
  await manager.idle()
}

const withHost = (options: WorkerOptions, work: (worker: ComputeWorker) => Promise<void>) =>
  withWorker({ domainOptions, ...options }, work)

describe('a volume', () => {
  it('is plugged in under the first free name, behind the iommu, and is told so', async () => {
    await withHost({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })

      await attachVolume(worker, instance)

      expect((await devicesOf(worker, instance)).disks).toEqual([volume.path])
      expect(await worker.sent()).toEqual([reported(instance, 1, { result: 'done', device: 'sdb' })])
    })
  })

  it('stays over a stop and a start, and is gone after it was taken out', async () => {
    await withHost({}, async (worker) => {
      const instance = await booted(worker)
      await attachVolume(worker, instance)
      const { manager } = worker
      const now = { ...instance, volumes: [attached] }
      const stopping = { instance: at(now, 'active', 'powering-off'), number: 2, clean_shutdown: false }
      await manager.stopInstance(stopping, request)
      await manager.idle()
      await manager.startInstance({ instance: at(now, 'stopped', 'powering-on'), number: 3 }, request)
      await manager.idle()
      const started = await devicesOf(worker, instance)
      await worker.sent()

      await detachVolume(worker, instance, 4)

      expect(started.disks).toEqual([volume.path])
      expect((await devicesOf(worker, instance)).disks).toEqual([])
      expect(await worker.sent()).toEqual([reported(instance, 4)])
    })
  })

  it.each(['/srv/volumes', '/srv/volumes-of-others/data.raw', '/etc/shadow'])(
    'at %s, which no operator gives away, is refused before anything is done',
    async (path) => {
      const steps: string[] = []
      await withHost({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
        const instance = await booted(worker)
        steps.length = 0

        await attachVolume(worker, instance, 1, { ...volume, path: path as typeof volume.path })

        expect(steps).not.toContain('attach')
        const outcome = failedWith('DEVICE_NOT_ALLOWED', 'running')
        expect(await worker.sent()).toEqual([reported(instance, 1, outcome)])
      })
    },
  )

  it('that the host refuses leaves the guest as it was, with the reason', async () => {
    const beforeStep = (step: string) => {
      if (step === 'attach') throw new VolumeAttachFailed('target sdb already exists')
    }
    await withHost({ beforeStep }, async (worker) => {
      const instance = await booted(worker)

      await attachVolume(worker, instance)

      expect((await devicesOf(worker, instance)).disks).toEqual([])
      const outcome = failedWith('VOLUME_ATTACH_FAILED', 'running')
      expect(await worker.sent()).toEqual([reported(instance, 1, outcome)])
    })
  })

  it('delivered again is plugged in once, and its end is told once more', async () => {
    let times = 0
    const beforeStep = (step: string) => {
      if (step === 'attach') times++
    }
    await withHost({ beforeStep }, async (worker) => {
      const instance = await booted(worker)

      await attachVolume(worker, instance)
      await attachVolume(worker, instance)

      const end = reported(instance, 1, { result: 'done', device: 'sda' })
      expect(times).toBe(1)
      expect(await worker.sent()).toEqual([end, end])
    })
  })

  it('that a guest does not let go is put back for its next start, and it is said that it failed', async () => {
    await withHost({ fake: { holds_devices: true }, unplug: patience }, async (worker) => {
      const instance = await booted(worker)
      await attachVolume(worker, instance)
      await worker.sent()

      await detachVolume(worker, instance)

      expect((await devicesOf(worker, instance)).disks).toEqual([volume.path])
      await worker.host.powerOff(instance.uuid)
      expect((await devicesOf(worker, instance)).disks).toEqual([volume.path])
      const outcome = failedWith('DEVICE_DETACH_FAILED', 'running')
      expect(await worker.sent()).toEqual([reported(instance, 2, outcome)])
    })
  })

  it('that a worker was at when it died is plugged in by the next one, wherever it died', async () => {
    const ends: unknown[] = []
    for (let dieAt = 1; dieAt <= 10; dieAt++) {
      const folder = await aFolder()
      let step = Number.NEGATIVE_INFINITY
      const beforeStep = () => (++step >= dieAt ? new Promise<void>(() => {}) : undefined)
      const before = await aWorker({ folder, domainOptions, beforeStep })
      const instance = await booted(before)
      step = 0
      const args = { instance: at(instance, 'active', 'attaching-volume'), number: 1, volume }
      const asked = before.manager.attachVolume(args, request)
      await Promise.race([asked, before.journal.flushed()])
      await new Promise((resolve) => setImmediate(resolve))
      await before.journal.close()
      await before.host.close()

      await withHost({ folder }, async (after) => {
        after.manager.recover()
        await after.manager.attachVolume(args, request)
        await after.manager.idle()
        ends.push((await devicesOf(after, instance)).disks)
      })
    }
    expect(new Set(ends.map(String))).toEqual(new Set([volume.path]))
  })
})

describe('an interface', () => {
  it('is plugged in where it was asked for, and taken out', async () => {
    await withHost({}, async (worker) => {
      const instance = await booted(worker)
      const { manager } = worker
      const acting = at(instance, 'active', 'attaching-interface')
      await manager.attachInterface({ instance: acting, number: 1, interface: plugged }, request)
      await manager.idle()
      const after = await devicesOf(worker, instance)

      const leaving = at({ ...instance, interfaces: [plugged] }, 'active', 'detaching-interface')
      await manager.detachInterface({ instance: leaving, number: 2, mac: plugged.mac }, request)
      await manager.idle()

      expect(after.macs).toEqual(['fa:16:3e:00:00:05', plugged.mac])
      expect((await devicesOf(worker, instance)).macs).toEqual(['fa:16:3e:00:00:05'])
      expect(await worker.sent()).toEqual([reported(instance, 1), reported(instance, 2)])
    })
  })

  it.each([
    ['on a network that the operator gives to nobody', { kind: 'network', network: 'secret' }, 'DEVICE_NOT_ALLOWED'],
    ['where the host plugs nobody in', null, 'INTERFACE_ATTACH_FAILED'],
  ] as const)('%s is refused', async (_where, source, code) => {
    await withHost({ domainOptions: { ...domainOptions, network: { kind: 'none' } } }, async (worker) => {
      const instance = await booted(worker)
      const acting = at(instance, 'active', 'attaching-interface')

      await worker.manager.attachInterface({ instance: acting, number: 1, interface: { ...plugged, source } }, request)
      await worker.manager.idle()

      expect((await worker.sent()).at(-1)).toEqual(reported(instance, 1, failedWith(code, 'running')))
    })
  })
})
