import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import type { VirtDriver } from '../../src/compute/virt-driver.ts'
import { DiskCreationFailed, SpawnFailed } from '../../src/errors.ts'
import { type ComputeWorker, request, withWorker } from './support/compute-worker.ts'
import { anInstance } from './support/instances.ts'

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
      expect(await worker.leftovers()).toEqual({
        guests: [{ uuid: instance.uuid, state: 'running' }],
        disks: [instance.uuid],
      })
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
      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
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
})
