import { describe, expect, it } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import type { Instance, InstanceState } from '../../src/objects/instance.ts'
import { at, booted } from './support/act.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'

/** A conductor that knows these instances, and no others. */
function knowing(states: Map<string, Partial<InstanceState>>) {
  return {
    checkBuild: async () => ({ wanted: true }),
    listInstanceStates: async (_context: unknown, { uuids }: { uuids: readonly string[] }) => ({
      instances: uuids.flatMap((uuid) => {
        const state = states.get(uuid)
        const rest = { task_state: null, leaving: null, messages_waiting: false, hosts_waiting: [] }
        return state === undefined ? [] : [{ uuid, ...rest, ...state }]
      }),
    }),
  }
}

const never = new AbortController().signal
const domainOf = async ({ host }: ComputeWorker, instance: Instance) =>
  buildDomain(guestSpec(instance), await host.capabilities(never))

const uuidOf = (n: number) => `99999999-0000-4000-8000-00000000000${n}`

/** One guest for each, off, with what the conductor knows of its instance. */
async function left(worker: ComputeWorker, count: number): Promise<readonly Instance[]> {
  const instances: Instance[] = []
  for (let n = 1; n <= count; n++) {
    const instance = await booted(worker, { uuid: uuidOf(n) })
    await worker.host.powerOff(instance.uuid)
    instances.push(instance)
  }
  return instances
}

async function clean(worker: ComputeWorker): Promise<readonly string[]> {
  await worker.manager.removeStrays()
  await worker.manager.idle()
  return worker.host.disks()
}

describe('disks on a host that was away', () => {
  it('go when their instance was deleted meanwhile, or lives elsewhere, and what is left of its guest goes with them', async () => {
    const states = new Map<string, Partial<InstanceState>>()
    await withWorker({ conductor: knowing(states) }, async (worker) => {
      const kept = (await left(worker, 4))[3] as Instance
      states.set(uuidOf(1), { vm_state: 'deleted', host: null })
      states.set(uuidOf(2), { vm_state: 'active', host: 'other' })
      states.set(uuidOf(3), { vm_state: 'shelved_offloaded', host: null })
      states.set(uuidOf(4), { vm_state: 'stopped', host: HOST })
      // A move that is over has left these.
      await worker.host.setDisksAside(uuidOf(4))
      await worker.host.createDisks(
        await domainOf(worker, kept),
        diskContents(kept, await domainOf(worker, kept)),
        never,
      )
      await worker.host.destroy(uuidOf(1))
      await worker.host.setDisksAside(uuidOf(2))

      expect(await clean(worker)).toEqual([uuidOf(4)])
      expect((await worker.leftovers()).guests).toEqual([{ uuid: uuidOf(4), state: 'shutoff' }])
      expect(await worker.sent()).toEqual([])
    })
  })

  it('stay while anything could still be done with them, or nobody knows whose they are', async () => {
    const states = new Map<string, Partial<InstanceState>>()
    await withWorker({ conductor: knowing(states) }, async (worker) => {
      const instances = await left(worker, 6)
      states.set(uuidOf(1), { vm_state: 'active', host: 'other', task_state: 'resize_finish' })
      states.set(uuidOf(2), { vm_state: 'resized', host: 'other', leaving: HOST })
      states.set(uuidOf(3), { vm_state: 'deleted', host: null, hosts_waiting: [HOST] })
      states.set(uuidOf(4), { vm_state: 'active', host: 'other', messages_waiting: true })
      states.set(uuidOf(5), { vm_state: 'active', host: 'other' })
      const running = at(instances[4] as Instance, 'stopped', 'powering-on')
      await worker.manager.startInstance({ instance: running, number: 1 }, request)
      await worker.manager.idle()

      expect(await clean(worker)).toEqual([1, 2, 3, 4, 5, 6].map(uuidOf))
    })
  })

  it('are told to an audit, and go one by one when that asks, unless they are needed', async () => {
    const states = new Map<string, Partial<InstanceState>>()
    await withWorker({ conductor: knowing(states) }, async (worker) => {
      await left(worker, 3)
      await worker.host.destroy(uuidOf(1))
      await worker.host.destroy(uuidOf(2))
      const told = async () => (await worker.manager.listGuests({}, request)).disks
      const gone = { uuid: uuidOf(1), folder: uuidOf(1), aside: false, bytes: 0 }
      expect(await told()).toEqual([gone, { ...gone, uuid: uuidOf(2), folder: uuidOf(2) }])

      states.set(uuidOf(1), { vm_state: 'deleted', host: null })
      states.set(uuidOf(2), { vm_state: 'active', host: HOST })
      const remove = (n: number) => worker.manager.removeStrayDisks({ instance_uuid: uuidOf(n) }, request)
      for (const n of [1, 1]) await remove(n)

      await expect(remove(2)).rejects.toThrow(expect.objectContaining({ code: 'INSTANCE_INVALID_STATE' }))
      // No conductor knows it.
      await expect(remove(3)).rejects.toThrow(expect.objectContaining({ code: 'INSTANCE_INVALID_STATE' }))
      expect(worker.host.disks()).toEqual([2, 3].map(uuidOf))
    })
  })
})
