import { describe, expect, it } from 'vitest'
import type { Instance } from '../../src/objects/instance.ts'
import type { LeftDisks } from '../../src/objects/left-disks.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { aWorker, type ComputeWorker, HOST, request, type WorkerOptions, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { anInstance } from './support/instances.ts'
import { killsDuring } from './support/kills-during.ts'

const MIGRATION = 'aaaaaaaa-0000-4000-8000-000000000001'
const SLOT = [{ provider: `${HOST}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]
const leftOf = ({ uuid }: Instance): LeftDisks => ({
  folder: `${uuid}_resize`,
  files: [{ name: 'disk', bytes: 0 }],
})
const left = (instance: Instance) => reported(instance, 1, { result: 'done', disks: leftOf(instance) })
const gone = ({ uuid, attempt }: Instance) => ({
  method: 'report_terminated',
  instance_uuid: uuid,
  attempt,
  host: HOST,
  terminated_at: expect.any(String),
  migration_uuid: MIGRATION,
})

async function leave(worker: ComputeWorker, instance: Instance, number = 1, storage = 'simulated') {
  const args = { instance: at(instance, 'active', 'resize_migrating'), number, clean_shutdown: true, storage }
  await worker.manager.resizeInstance(args, request)
  await worker.manager.idle()
}

async function comeBack(worker: ComputeWorker, instance: Instance, number = 2, power_on = true) {
  const args = { instance: at(instance, 'active', 'resize_reverting'), number, power_on }
  await worker.manager.finishRevertResize(args, request)
  await worker.manager.idle()
}

async function arrive(worker: ComputeWorker, instance: Instance, power_on = true) {
  const args = { instance, allocations: SLOT, disks: leftOf(instance), power_on }
  await worker.manager.finishResize(args, request)
  await worker.manager.idle()
}

async function depart(worker: ComputeWorker, instance: Instance, more: object = {}) {
  const args = { instance, void: true, migration_uuid: MIGRATION, ...more }
  await worker.manager.terminateInstance(args, request)
  await worker.manager.idle()
}

/** As try 2 of an instance with SEV, at its destination. */
function arriving(): Instance {
  return { ...at(anInstance({ model: 'amd-sev' }), 'active', 'resize_finish'), attempt: 2, host: HOST }
}

async function restarted(folder: string, options: WorkerOptions, work: (worker: ComputeWorker) => Promise<void>) {
  await withWorker({ folder, ...options }, async (worker) => {
    worker.manager.recover()
    await work(worker)
  })
}

describe('the source of a resize', () => {
  it('powers its guest off, sets its disks aside, and tells them; asked again, once more the same', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })

      await leave(worker, instance)
      await leave(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(worker.host.disks()).toEqual([`${instance.uuid}_resize`])
      expect(await worker.sent()).toEqual([left(instance), left(instance)])
    })
  })

  it('does nothing for a host that does not see its disks', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)

      await leave(worker, instance, 1, 'elsewhere')

      expect(await guestOf(worker, instance)).toBe('running')
      expect(worker.host.disks()).toEqual([instance.uuid])
      expect(await worker.sent()).toContainEqual(reported(instance, 1, failedWith('INVALID_SHARED_STORAGE', 'running')))
    })
  })

  it('makes the guest what it was, running or off, and proves it', async () => {
    await withWorker({}, async (worker) => {
      const running = await booted(worker, { model: 'amd-sev' })
      const off = await booted(worker, { uuid: '99999999-0000-4000-8000-000000000009' })
      for (const instance of [running, off]) await leave(worker, instance)

      await comeBack(worker, running)
      await comeBack(worker, off, 2, false)

      expect([await guestOf(worker, running), await guestOf(worker, off)]).toEqual(['running', 'shutoff'])
      expect(worker.host.disks().toSorted()).toEqual([running.uuid, off.uuid].toSorted())
      expect(await worker.sent()).toContainEqual(reported(running, 2))
    })
  })

  it('removes all that it has when the instance stays at its destination', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await leave(worker, instance)
      await worker.sent()

      await depart(worker, instance)

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      expect(await worker.sent()).toEqual([gone(instance)])
    })
  })

  it('that is killed anywhere in between comes to the same end, both ways', async () => {
    const out = await killsDuring((worker) => booted(worker, { model: 'amd-sev' }), leave)
    for (const { folder } of out.kills) {
      await restarted(folder, {}, async (worker) => {
        await leave(worker, out.prepared)

        expect(await guestOf(worker, out.prepared)).toBe('shutoff')
        expect(worker.host.disks()).toEqual([`${out.prepared.uuid}_resize`])
        expect(await worker.sent()).toContainEqual(left(out.prepared))
      })
    }
    const back = await killsDuring(async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      await leave(worker, instance)
      return instance
    }, comeBack)
    for (const { folder } of back.kills) {
      await restarted(folder, {}, async (worker) => {
        await comeBack(worker, back.prepared)

        expect(await guestOf(worker, back.prepared)).toBe('running')
        expect(worker.host.disks()).toEqual([back.prepared.uuid])
        expect(await worker.sent()).toContainEqual(reported(back.prepared, 2))
      })
    }
  })
})

describe('the destination of a resize', () => {
  const active = (instance: Instance) =>
    expect.objectContaining({
      method: 'report_build',
      attempt: 2,
      outcome: { result: 'active', launched_at: expect.any(String) },
      instance_uuid: instance.uuid,
    })

  it('says before anything changes whether it can take it, and what it sees of disks', async () => {
    await withWorker({}, async (worker) => {
      const instance = arriving()

      expect(await worker.manager.prepResize({ instance, allocations: SLOT }, request)).toEqual({
        storage: 'simulated',
      })
      await expect(worker.manager.prepResize({ instance, allocations: [] }, request)).rejects.toMatchObject({
        code: 'CLAIM_MISMATCH',
      })
      worker.host.reconfigure({ sev_slots: 0 })
      await expect(worker.manager.prepResize({ instance, allocations: SLOT }, request)).rejects.toMatchObject({
        code: 'HOST_CAPABILITY_MISSING',
      })
      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      expect(await worker.sent()).toEqual([])
    })
  })

  it('builds the guest on the disks that were left, or only defines one that is to stay off', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = arriving()
      await arrive(worker, instance)
      expect(steps).toEqual([
        'append',
        'capabilities',
        'takeDisks',
        'createDisks',
        'spawn',
        'domainXml',
        'launch',
        'append',
      ])
      expect(await worker.sent()).toEqual([active(instance)])

      const off = { ...arriving(), uuid: '99999999-0000-4000-8000-000000000009' }
      await arrive(worker, off, false)
      expect([await guestOf(worker, instance), await guestOf(worker, off)]).toEqual(['running', 'shutoff'])
    })
  })

  it('without the disks, or when the guest does not start, has nothing left and says so', async () => {
    await withWorker({ fake: { fail_spawn: 1 } }, async (worker) => {
      const instance = arriving()
      await arrive(worker, instance)

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      expect(await worker.sent()).toEqual([
        expect.objectContaining({ outcome: { result: 'failed', fault: expect.anything(), retryable: true } }),
      ])
      const other = { ...arriving(), uuid: '99999999-0000-4000-8000-000000000009' }
      const args = { instance: other, allocations: SLOT, disks: { folder: 'x', files: [] }, power_on: true }
      await worker.manager.finishResize(args, request)
      await worker.manager.idle()
      expect(await worker.sent()).toContainEqual(
        expect.objectContaining({
          outcome: expect.objectContaining({ fault: expect.objectContaining({ code: 'INVALID_SHARED_STORAGE' }) }),
        }),
      )
    })
  })

  it('that is killed anywhere in between comes to the same end', async () => {
    const { prepared, kills } = await killsDuring(async () => arriving(), arrive)
    for (const { folder } of kills) {
      await restarted(folder, {}, async (worker) => {
        await arrive(worker, prepared)

        expect(await worker.leftovers()).toEqual({
          guests: [{ uuid: prepared.uuid, state: 'running' }],
          disks: [prepared.uuid],
        })
        expect(await worker.sent()).toContainEqual(active(prepared))
      })
    }
  })

  it('removes all that it has when the instance goes back', async () => {
    await withWorker({}, async (worker) => {
      const instance = arriving()
      await arrive(worker, instance)
      await worker.sent()

      await depart(worker, instance)

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      expect(await worker.sent()).toEqual([gone(instance)])
    })
  })
})

describe('a resize on the host where the instance is', () => {
  async function resized(worker: ComputeWorker): Promise<{ before: Instance; after: Instance }> {
    const before = await booted(worker, { model: 'amd-sev' })
    await leave(worker, before)
    const after = { ...at(before, 'active', 'resize_finish'), attempt: 2 }
    await arrive(worker, after)
    await worker.sent()
    return { before, after }
  }

  it('keeps what it had beside what it has, and confirmed removes only that', async () => {
    await withWorker({}, async (worker) => {
      const { before, after } = await resized(worker)
      expect(worker.host.disks().toSorted()).toEqual([before.uuid, `${before.uuid}_resize`])

      await depart(worker, before, { only_disks_aside: true })

      expect(await guestOf(worker, after)).toBe('running')
      expect(worker.host.disks()).toEqual([before.uuid])
      expect(await worker.sent()).toEqual([gone(before)])
    })
  })

  it('reverted is under its old number again, and what is done to it then is done, after a restart, too', async () => {
    const folder = await aFolder()
    const worker = await aWorker({ folder })
    const { before, after } = await resized(worker)
    await depart(worker, after, { keeps_disks_aside: true })
    expect(worker.host.disks()).toEqual([`${before.uuid}_resize`])

    await comeBack(worker, before)
    expect(await guestOf(worker, before)).toBe('running')
    await worker.close()

    await restarted(folder, {}, async (later) => {
      const args = { instance: at(before, 'active', 'powering-off'), number: 3, clean_shutdown: false }
      await later.manager.stopInstance(args, request)
      await later.manager.idle()

      expect(await guestOf(later, before)).toBe('shutoff')
      expect(await later.sent()).toContainEqual(reported(before, 3))
    })
  })
})
