import { describe, expect, it } from 'vitest'
import type { Instance } from '../../src/objects/instance.ts'
import type { Allocation } from '../../src/objects/request-spec.ts'
import { at, booted, guestOf } from './support/act.ts'
import { type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
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
        ...['shutdown', 'powerOff', 'destroy', 'removeDisks', 'destroy', 'capabilities', 'createDisks', 'spawn'],
        'domainXml',
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

  it('that fails leaves nothing of either guest; without the slot that it needs it starts none', async () => {
    await withWorker({}, async (worker) => {
      const instance = rebuilt(await booted(worker))

      await rebuild(worker, instance, true, [])

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      const fault = expect.objectContaining({ code: 'CLAIM_MISMATCH' })
      expect(await worker.sent()).toEqual([built(instance, { result: 'failed', fault, retryable: true })])
    })
  })

  it('asked again it does nothing twice, and tells its end once more', async () => {
    await withWorker({}, async (worker) => {
      const instance = rebuilt(await booted(worker))
      await rebuild(worker, instance)
      await rebuild(worker, instance)
      expect(await worker.sent()).toEqual([built(instance), built(instance)])

      const other = rebuilt(await booted(worker))
      await rebuild(worker, other, true, [])
      await worker.sent()
      await rebuild(worker, other, true, [])
      const fault = expect.objectContaining({ code: 'BUILD_INTERRUPTED' })
      expect(await worker.sent()).toEqual([built(other, { result: 'failed', fault, retryable: true })])
    })
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
