import { cp } from 'node:fs/promises'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import type { VirtDriver } from '../../src/compute/virt-driver.ts'
import {
  DiskCreationFailed,
  HypervisorUnavailable,
  ImageNotFound,
  LibvirtError,
  SpawnFailed,
} from '../../src/errors.ts'
import { type ComputeWorker, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { activeInstance, anInstance } from './support/instances.ts'

const instance = anInstance({ model: 'amd-sev' })

const STEPS = ['createDisks', 'spawn', 'destroy', 'removeDisks'] as const
type Steps = Pick<VirtDriver, (typeof STEPS)[number]>

/** What is called of the host, and how it ends, in their order; where it is given otherwise it is done so. */
function listenTo({ host }: ComputeWorker, otherwise: Partial<Steps> = {}): { readonly heard: string[] } {
  const heard: string[] = []
  for (const step of STEPS) {
    const done = (otherwise[step] ?? host[step].bind(host)) as (...args: unknown[]) => Promise<void>
    vi.spyOn(host, step).mockImplementation(async (...args: unknown[]) => {
      heard.push(step)
      await done(...args).finally(() => heard.push(`${step} ended`))
    })
  }
  return { heard }
}

const nothing = { guests: [], disks: [] }
const running = { guests: [{ uuid: instance.uuid, state: 'running' }], disks: [instance.uuid] }
/** The hypervisor knows of the guest, and its disks are not there. */
const defined = { guests: [{ uuid: instance.uuid, state: 'shutoff' }], disks: [] }
/** The other way round. */
const withDisks = { guests: [], disks: [instance.uuid] }

/** Until one of the two halves of the boot is done, and the other is not. */
function isAt(worker: ComputeWorker, half: object): Promise<void> {
  return vi.waitFor(async () => expect(await worker.leftovers()).toEqual(half), { timeout: 10_000 })
}

/** One half waits for `then`; the other is done as usual. */
function halfDone(worker: ComputeWorker, half: object, then: () => Promise<void>) {
  const late = half === defined ? 'createDisks' : 'spawn'
  const done = worker.host[late].bind(worker.host) as (...args: unknown[]) => Promise<void>
  listenTo(worker, {
    [late]: async (...args: unknown[]) => {
      await then()
      await done(...args)
    },
  })
}

async function boot({ manager }: ComputeWorker): Promise<void> {
  await manager.buildAndRunInstance({ instance }, request)
  await manager.idle()
}

describe('a boot', () => {
  it('has the disks made while the hypervisor hears of the guest, which starts once they are there', async () => {
    await withWorker({}, async (worker) => {
      const { heard } = listenTo(worker)

      await boot(worker)

      expect(heard).toEqual(['createDisks', 'spawn', 'createDisks ended', 'spawn ended'])
      expect(await worker.leftovers()).toEqual(running)
    })
  })

  it('whose disks cannot be made fails for that, and is undone when neither is under way', async () => {
    await withWorker({}, async (worker) => {
      const createDisks = async () => {
        throw new DiskCreationFailed('the disk is full', {})
      }
      const { heard } = listenTo(worker, { createDisks })

      await boot(worker)

      expect(heard.slice(-4)).toEqual(['destroy', 'destroy ended', 'removeDisks', 'removeDisks ended'])
      expect(heard.slice(0, -4)).toEqual(expect.arrayContaining(['createDisks ended', 'spawn ended']))
      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code: 'DISK_CREATION_FAILED' } } }])
    })
  })

  it('of a guest that cannot be defined gives up making its disks, and is undone when that has ended', async () => {
    await withWorker({}, async (worker) => {
      let why: unknown
      const spawn = async () => {
        throw new SpawnFailed('refused')
      }
      const createDisks: Steps['createDisks'] = async (_domain, _contents, signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        why = signal.reason
        await nextTurn()
        throw signal.reason
      }
      const { heard } = listenTo(worker, { spawn, createDisks })

      await boot(worker)

      expect(why).toEqual(new SpawnFailed('refused'))
      expect(heard).toEqual([
        ...['createDisks', 'spawn', 'spawn ended', 'createDisks ended'],
        ...['destroy', 'destroy ended', 'removeDisks', 'removeDisks ended'],
      ])
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code: 'SPAWN_FAILED' } } }])
    })
  })

  it('whose hypervisor is silent fails for the image that is not there, and does not wait for the other', async () => {
    await withWorker({}, async (worker) => {
      const createDisks = async () => {
        throw new ImageNotFound('there is no such image', {})
      }
      const spawn: Steps['spawn'] = (_domain, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      listenTo(worker, { createDisks, spawn })

      await boot(worker)

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code: 'IMAGE_NOT_FOUND' } } }])
    })
  })

  it('does not pass for done when its disks could not be made, though its guest runs', async () => {
    await withWorker({}, async (worker) => {
      const createDisks = worker.host.createDisks.bind(worker.host)
      const spawn = worker.host.spawn.bind(worker.host)
      listenTo(worker, {
        async createDisks(...args) {
          await createDisks(...args)
          await isAt(worker, running)
          throw new DiskCreationFailed('the disk is full', {})
        },
        // It does not wait for them.
        spawn: async (domain, signal) => {
          await vi.waitFor(() => expect(worker.host.disks()).toEqual([instance.uuid]))
          await spawn(domain, signal)
        },
      })

      await boot(worker)

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code: 'DISK_CREATION_FAILED' } } }])
    })
  })
})

describe.each([
  ['its guest is defined and its disks are not made', defined, 'DISK_CREATION_FAILED'],
  ['its disks are made and its guest is not defined', withDisks, 'SPAWN_FAILED'],
] as const)('a boot that ends when %s', (_, half, code) => {
  it('by a failure leaves nothing, and says which', async () => {
    await withWorker({}, async (worker) => {
      halfDone(worker, half, async () => {
        await isAt(worker, half)
        throw code === 'SPAWN_FAILED' ? new SpawnFailed('refused') : new DiskCreationFailed('the disk is full', {})
      })

      await boot(worker)

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code } } }])
    })
  })

  it('by a deletion leaves nothing, and tells that alone', async () => {
    await withWorker({}, async (worker) => {
      let isDeleted = Promise.resolve()
      halfDone(worker, half, async () => {
        await isAt(worker, half)
        const deleted = worker.manager.terminateInstance({ instance: activeInstance(instance), void: false }, request)
        isDeleted = deleted.then(() => {})
        await isDeleted
      })

      await boot(worker)
      await isDeleted
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ method: 'report_terminated' }])
    })
  })

  it('by the next try of the same instance has one guest, which is that one', async () => {
    await withWorker({}, async (worker) => {
      const next = { ...instance, attempt: 2 }
      let isFirst = true
      halfDone(worker, half, async () => {
        if (!isFirst) return
        isFirst = false
        await isAt(worker, half)
        await worker.manager.buildAndRunInstance({ instance: next }, request)
      })

      await boot(worker)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(running)
      expect(await worker.sent()).toMatchObject([{ attempt: 2, outcome: { result: 'active' } }])
    })
  })

  it('by a kill has one guest after the restart, and tells it once', async () => {
    const [folder, left] = [await aFolder(), await aFolder()]
    await withWorker({ folder }, async (worker) => {
      halfDone(worker, half, async () => {
        await isAt(worker, half)
        await cp(folder, left, { recursive: true, filter: (path) => !path.includes('owner.') })
      })
      await boot(worker)
    })

    await withWorker({ folder: left }, async (worker) => {
      expect(await worker.leftovers()).toEqual(half)
      worker.manager.recover()
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(running)
      expect(await worker.sent()).toMatchObject([{ attempt: 1, outcome: { result: 'active' } }])
    })
  })
})

describe('the proof of a guest that was just booted', () => {
  const lockedOut = new LibvirtError('cannot acquire state change lock', { libvirt_code: 68 })

  it.each([
    ['is at something else', lockedOut],
    ['does not answer', new HypervisorUnavailable('the connection to libvirt is lost')],
  ])('is asked for once more where the hypervisor %s', async (_, hiccup) => {
    await withWorker({}, async (worker) => {
      vi.spyOn(worker.host, 'launch').mockRejectedValueOnce(hiccup).mockRejectedValueOnce(hiccup)
      const { heard } = listenTo(worker)

      await boot(worker)

      expect(heard).not.toContain('destroy')
      expect(await worker.leftovers()).toEqual(running)
      expect(await worker.sent()).toMatchObject([{ outcome: { result: 'active' } }])
    })
  })

  it('that nobody gives is none: the guest goes', async () => {
    await withWorker({}, async (worker) => {
      const launch = vi.spyOn(worker.host, 'launch').mockRejectedValue(lockedOut)

      await boot(worker)

      expect(launch).toHaveBeenCalledTimes(5)
      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toMatchObject([{ outcome: { fault: { code: 'LIBVIRT_ERROR' } } }])
    })
  })
})
