import { cp } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { ImageNotFound, SpawnFailed } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { Allocation } from '../../src/objects/request-spec.ts'
import { at, booted, guestOf, reported } from './support/act.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { anInstance } from './support/instances.ts'
import { killsDuring } from './support/kills-during.ts'

const SLOT: Allocation[] = [{ provider: `${HOST}_amd_sev`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]

/** As try 2 of an instance, with SEV by its new image. */
function rebuilt({ uuid }: Instance): Instance {
  const { flavor } = anInstance()
  const image = anInstance({ properties: { hw_mem_encryption: 'true' } }).image
  const mem_encryption = { model: 'amd-sev', policy: '0x0033', requested_by: 'image' } as const
  const instance = at({ ...anInstance({ uuid }), flavor, image, mem_encryption }, 'active', 'rebuild_spawning')
  return { ...instance, attempt: 2, host: HOST }
}

async function rebuild(worker: ComputeWorker, instance: Instance, power_on = true, allocations = SLOT) {
  await worker.manager.rebuildInstance({ instance, allocations, power_on }, request)
  await worker.manager.idle()
}

function built({ uuid, attempt }: Instance, outcome: object = { result: 'active', launched_at: expect.any(String) }) {
  return { method: 'report_build', instance_uuid: uuid, attempt, host: HOST, outcome }
}

const refused = (code: unknown, retryable: unknown) => ({
  result: 'failed',
  fault: expect.objectContaining({ code }),
  retryable,
  unchanged: true,
})

/** @returns a step that fails, once it is armed */
function failing(which: string, error: Error) {
  let isArmed = false
  const arm = () => {
    isArmed = true
  }
  const step = (name: string) => {
    if (isArmed && name === which) throw error
  }
  return { step, arm }
}

const never = new AbortController().signal
const isEncrypted = async ({ host }: ComputeWorker, { uuid }: Instance) =>
  (await host.domainXml(uuid, never)).includes('<launchSecurity')

describe('a rebuild on its host', () => {
  it('asks the earlier guest to shut down, and starts the new one encrypted as that is to be', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const before = await booted(worker)
      const instance = rebuilt(before)
      steps.length = 0

      await rebuild(worker, instance)

      expect(steps.filter((step) => step !== 'guest' && step !== 'append')).toEqual([
        ...['capabilities', 'holdImage', 'shutdown', 'powerOff', 'destroy', 'removeDisks', 'destroy'],
        ...['capabilities', 'createDisks', 'spawn', 'domainXml', 'launch'],
      ])
      expect([await guestOf(worker, instance), await isEncrypted(worker, instance)]).toEqual(['running', true])
      expect(await worker.sent()).toEqual([built(instance)])
    })
  })

  it('leaves one off that was off', async () => {
    await withWorker({}, async (worker) => {
      const instance = rebuilt(await booted(worker))

      await rebuild(worker, instance, false)

      expect([await guestOf(worker, instance), worker.host.disks()]).toEqual(['shutoff', [instance.uuid]])
      expect(await worker.sent()).toEqual([built(instance)])
    })
  })

  it('that its host refuses before it has touched anything leaves the earlier guest as it was, and that can be acted on', async () => {
    const { step, arm } = failing('holdImage', new ImageNotFound('the store has no image', {}))
    await withWorker({ beforeStep: step }, async (worker) => {
      const before = await booted(worker)
      await rebuild(worker, rebuilt(before), true, [])
      expect(await worker.sent()).toEqual([built(rebuilt(before), refused('CLAIM_MISMATCH', true))])

      arm()
      const instance = { ...rebuilt(before), attempt: 3 }
      await rebuild(worker, instance)

      expect(await worker.sent()).toEqual([built(instance, refused('IMAGE_NOT_FOUND', true))])
      expect([await guestOf(worker, before), await isEncrypted(worker, before)]).toEqual(['running', false])
      await worker.manager.stopInstance({ instance: before, number: 1, clean_shutdown: true }, request)
      await worker.manager.idle()
      expect([await worker.sent(), await guestOf(worker, before)]).toEqual([[reported(before, 1)], 'shutoff'])
    })
  })

  it('that fails when the earlier guest is gone leaves nothing of either', async () => {
    const { step, arm } = failing('spawn', new SpawnFailed('QEMU died'))
    await withWorker({ beforeStep: step }, async (worker) => {
      const instance = rebuilt(await booted(worker))
      arm()

      await rebuild(worker, instance)

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      const fault = expect.objectContaining({ code: 'SPAWN_FAILED' })
      expect(await worker.sent()).toEqual([built(instance, { result: 'failed', fault, retryable: true })])
    })
  })

  it('asked again it does nothing twice, and tells its end once more', async () => {
    await withWorker({}, async (worker) => {
      const instance = rebuilt(await booted(worker))
      await rebuild(worker, instance)
      await rebuild(worker, instance)
      expect(await worker.sent()).toEqual([built(instance), built(instance)])

      const before = await booted(worker)
      await rebuild(worker, rebuilt(before), true, [])
      await worker.sent()
      await rebuild(worker, rebuilt(before))
      expect(await worker.sent()).toEqual([built(rebuilt(before), refused('BUILD_INTERRUPTED', true))])
      expect([await guestOf(worker, before), await isEncrypted(worker, before)]).toEqual(['running', false])
    })
  })

  it('refused, and deleted before that was heard, its guest goes all the same', async () => {
    await withWorker({}, async (worker) => {
      const instance = rebuilt(await booted(worker))
      await rebuild(worker, instance, true, [])

      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      expect((await worker.sent()).at(-1)).toMatchObject({ method: 'report_terminated', attempt: 2 })
    })
  })

  it('that is refused leaves the earlier guest wherever its worker is killed, and nobody else wants it', async () => {
    const { step, arm } = failing('holdImage', new ImageNotFound('the store has no image', {}))
    const { prepared, kills } = await killsDuring(
      async (worker) => {
        const before = await booted(worker)
        arm()
        return before
      },
      (worker, before) => rebuild(worker, rebuilt(before)),
      step,
    )
    const instance = rebuilt(prepared)

    expect(kills.length).toBeGreaterThan(3)
    for (const { folder } of kills) {
      for (const isWanted of [true, false]) {
        const again = failing('holdImage', new ImageNotFound('the store has no image', {}))
        again.arm()
        const copy = await aFolder()
        await cp(folder, copy, { recursive: true })
        await withWorker({ folder: copy, beforeStep: again.step, isWanted: async () => isWanted }, async (next) => {
          next.manager.recover()
          await next.manager.idle()
          if (isWanted) await rebuild(next, instance)

          expect([await guestOf(next, prepared), await isEncrypted(next, prepared)]).toEqual(['running', false])
          const told = await next.sent()
          if (isWanted) expect(told.at(-1)).toEqual(built(instance, refused(expect.any(String), expect.any(Boolean))))
          await next.manager.stopInstance({ instance: prepared, number: 1, clean_shutdown: true }, request)
          await next.manager.idle()
          expect(await next.sent()).toEqual([reported(prepared, 1)])
        })
      }
    }
  })

  it('ends with the new guest wherever its worker is killed', async () => {
    const { prepared: instance, kills } = await killsDuring(async (worker) => rebuilt(await booted(worker)), rebuild)

    expect(kills.length).toBeGreaterThan(8)
    for (const { folder } of kills) {
      await withWorker({ folder }, async (next) => {
        next.manager.recover()
        // Its conductor asks again, or the broker delivers again.
        await rebuild(next, instance)

        expect([await guestOf(next, instance), await isEncrypted(next, instance)]).toEqual(['running', true])
        expect((await next.sent()).at(-1)).toEqual(built(instance))
      })
    }
  })
})
