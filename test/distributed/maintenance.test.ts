import { expect, it, vi } from 'vitest'
import { newRequestContext } from '../../src/client.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const SETTLE = { timeout: 30_000, interval: 100 }
const context = newRequestContext()
const UEFI = anImage({ hw_firmware_type: 'uefi', hw_machine_type: 'q35' })
const FLAVORS = { clear: aFlavor(), sev: aFlavor({ 'hw:mem_encryption': 'true' }) }

/** docs/operators.md, "Maintenance of SEV hosts". */
it('a disabled host keeps its guests, takes no new ones, is emptied by deleting them, and serves again when enabled', async () => {
  await using cloud = await ProcessCloud.open()
  await cloud.worker('conductor', 'c1')
  await cloud.worker('scheduler', 's1')
  const machine = { SEVBUS_FAKE_SEV_SLOTS: '5', SEVBUS_FAKE_MEMORY_MB: '65536' }
  await cloud.compute('h1', machine)
  const { conductor, scheduler } = await cloud.client({ hosts: 1 })
  const shown = async () => (await scheduler.listHosts(context, {})).hosts[0]
  const boot = async (kind: keyof typeof FLAVORS) => {
    const { instances } = await conductor.buildInstances(context, { name: kind, flavor: FLAVORS[kind], image: UEFI })
    const instance_uuid = instances[0]?.uuid as string
    return vi.waitFor(async () => {
      const { instance, attempts } = await conductor.explainInstance(context, { instance_uuid })
      expect(['active', 'error']).toContain(instance.vm_state)
      const why = attempts.at(-1)?.report?.rejections.map(({ filter }) => filter) ?? []
      return { uuid: instance_uuid, end: instance.vm_state, why }
    }, SETTLE)
  }
  const guests = [await boot('clear'), await boot('sev')]
  expect(guests.map(({ end }) => end)).toEqual(['active', 'active'])

  await scheduler.setHost(context, { host: 'h1', disabled: true, disabled_reason: 'new memory' })
  await vi.waitFor(async () => expect(await shown()).toMatchObject({ disabled: true }), SETTLE)

  const refused = [await boot('clear'), await boot('sev')]
  expect(refused.map(({ end }) => end)).toEqual(['error', 'error'])
  for (const { why } of refused) expect(why).toEqual(['ComputeFilter'])
  expect(await shown()).toMatchObject({ state: 'up', disabled_reason: 'new memory', instances: 2 })
  for (const { uuid } of guests) await conductor.deleteInstance(context, { instance_uuid: uuid })
  await vi.waitFor(async () => expect(await shown()).toMatchObject({ state: 'up', instances: 0 }), SETTLE)

  await scheduler.setHost(context, { host: 'h1', disabled: false })
  expect((await boot('sev')).end).toBe('active')
})
