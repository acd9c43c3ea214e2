import { describe, expect, it, vi } from 'vitest'
import type { Instance } from '../../src/objects/instance.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { activeInstance, anInstance } from './support/instances.ts'

const NOW = '2026-01-01T00:02:00.000Z'
const MIGRATION = 'aaaaaaaa-0000-4000-8000-000000000001'
const NEXT_MIGRATION = 'aaaaaaaa-0000-4000-8000-000000000002'
const nothing = { guests: [], disks: [] }

const removed = (uuid: string, migration_uuid = MIGRATION, attempt = 1) => ({
  method: 'report_terminated',
  instance_uuid: uuid,
  attempt,
  host: HOST,
  terminated_at: NOW,
  migration_uuid,
})

async function withGuest(worker: ComputeWorker, instance: Instance): Promise<void> {
  await worker.manager.buildAndRunInstance({ instance }, request)
  await worker.manager.idle()
  await worker.sent()
}

const leaving = (instance: Instance, migration_uuid = MIGRATION) => ({
  instance: activeInstance(instance),
  void: true,
  migration_uuid,
})

describe('the guest of an instance that lives elsewhere', () => {
  it('is removed, and the conductor alone is told, as often as it asks', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })
      await withGuest(worker, instance)

      await worker.manager.terminateInstance(leaving(instance), request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([removed(instance.uuid)])
      await worker.manager.terminateInstance(leaving(instance), request)
      await worker.manager.idle()
      expect(await worker.sent()).toEqual([removed(instance.uuid)])
    })
  })

  it('that was removed in silence before, or by a later try, is told to be gone', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()
      await withGuest(worker, instance)
      await worker.manager.terminateInstance({ ...leaving(instance), migration_uuid: undefined }, request)
      await worker.manager.terminateInstance(leaving(instance), request)
      await worker.manager.idle()
      expect(await worker.sent()).toEqual([removed(instance.uuid)])

      await worker.manager.terminateInstance({ instance: { ...instance, attempt: 4 }, void: true }, request)
      await worker.manager.idle()
      await worker.manager.terminateInstance(leaving(instance, NEXT_MIGRATION), request)
      expect(await worker.sent()).toEqual([removed(instance.uuid, NEXT_MIGRATION)])
    })
  })

  it('is not told to be gone while a later try of the instance is here', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()
      await withGuest(worker, { ...instance, attempt: 3 })

      await worker.manager.terminateInstance(leaving(instance), request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([])
      expect((await worker.leftovers()).guests).toEqual([{ uuid: instance.uuid, state: 'running' }])
    })
  })

  it('is told to be gone though the host has never seen it: its disk may have been changed', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()

      await worker.manager.terminateInstance(leaving(instance), request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([removed(instance.uuid)])
    })
  })

  it('is removed by a worker that was killed in the middle of it, and then told', async () => {
    const folder = await aFolder()
    const instance = anInstance({ model: 'amd-sev' })
    let isKilled = false
    const beforeStep = (step: string) => {
      if (step === 'destroy') isKilled = true
      if (isKilled) throw new Error('killed')
    }
    await withWorker({ folder, beforeStep }, async (worker) => {
      await withGuest(worker, instance)
      await worker.manager.terminateInstance(leaving(instance), request)
    })

    await withWorker({ folder }, async (worker) => {
      worker.manager.recover()
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([removed(instance.uuid)])
    })
  })
})

describe('a worker that comes back', () => {
  it('asks what was evacuated from it, page by page and until it is answered, and removes that', async () => {
    const [kept, first, second] = [anInstance(), anInstance({ model: 'amd-sev' }), anInstance()]
    let silences = 2
    const departed = async (marker?: string) => {
      if (silences-- > 0) throw new Error('no conductor is there')
      if (marker === undefined) return [{ migration_uuid: MIGRATION, instance: activeInstance(first) }]
      if (marker === MIGRATION) return [{ migration_uuid: NEXT_MIGRATION, instance: activeInstance(second) }]
      return []
    }
    await withWorker({ departed }, async (worker) => {
      for (const instance of [kept, first, second]) await withGuest(worker, instance)

      await worker.manager.removeDeparted()
      await worker.manager.idle()

      expect((await worker.leftovers()).guests).toEqual([{ uuid: kept.uuid, state: 'running' }])
      expect((await worker.sent()).toSorted(byMigration)).toEqual([
        removed(first.uuid),
        removed(second.uuid, NEXT_MIGRATION),
      ])
    })
  })

  it('and is stopped before anybody answered begins nothing, and ends', async () => {
    const asked: unknown[] = []
    const departed = async () => {
      asked.push(undefined)
      throw new Error('no conductor is there')
    }
    await withWorker({ departed }, async (worker) => {
      const instance = anInstance()
      await withGuest(worker, instance)
      const departing = worker.manager.removeDeparted()
      await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1))

      await worker.manager.drain(0)
      await departing

      expect((await worker.leftovers()).guests).toEqual([{ uuid: instance.uuid, state: 'running' }])
      expect(await worker.sent()).toEqual([])
    })
  })
})

function byMigration(a: unknown, b: unknown): number {
  const of = (sent: unknown) => (sent as { migration_uuid: string }).migration_uuid
  return of(a) < of(b) ? -1 : 1
}
