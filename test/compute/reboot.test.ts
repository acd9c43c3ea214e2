import { describe, expect, it, vi } from 'vitest'
import type { Instance, TaskState, VmState } from '../../src/objects/instance.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { aWorker, type ComputeWorker, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'

type Act = 'rebootInstance' | 'pauseInstance' | 'unpauseInstance' | 'suspendInstance' | 'resumeInstance'

const TASKS: Readonly<Record<Act, TaskState>> = {
  rebootInstance: 'rebooting',
  pauseInstance: 'pausing',
  unpauseInstance: 'unpausing',
  suspendInstance: 'suspending',
  resumeInstance: 'resuming',
}

async function act(
  worker: ComputeWorker,
  what: Act,
  instance: Instance,
  number: number,
  before: VmState = 'active',
  reboot_type: 'SOFT' | 'HARD' = 'SOFT',
): Promise<void> {
  await worker.manager[what]({ instance: at(instance, before, TASKS[what]), number, reboot_type }, request)
  await worker.manager.idle()
}

describe('a reboot', () => {
  it.each([
    ['SOFT', ['guest', 'guest', 'shutdown', 'guest', 'powerOff', 'append', 'guest', 'capabilities', 'powerOff']],
    ['HARD', ['guest', 'guest', 'powerOff', 'append', 'guest', 'capabilities', 'powerOff']],
  ] as const)('%s takes the guest down once, starts it and proves it', async (reboot_type, down) => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      steps.length = 0

      await act(worker, 'rebootInstance', instance, 1, 'active', reboot_type)

      expect(steps).toEqual(['append', ...down, 'spawn', 'domainXml', 'launch', 'append'])
      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toEqual([reported(instance, 1)])
    })
  })

  it('of a guest that does not hear takes its power', async () => {
    const shutdown = { timeoutMs: 20, askAgainMs: 1000, lookMs: 1 }
    await withWorker({ fake: { shutdown_delay_ms: Number.POSITIVE_INFINITY }, shutdown }, async (worker) => {
      const instance = await booted(worker)

      await act(worker, 'rebootInstance', instance, 1)

      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toContainEqual(reported(instance, 1))
    })
  })

  it('whose worker died between takes the guest down only once', async () => {
    const folder = await aFolder()
    const before = await aWorker({ folder, fake: { spawn_delay_ms: 0 } })
    const instance = await booted(before, { model: 'amd-sev' })
    before.host.reconfigure({ spawn_delay_ms: 3_600_000 })
    await before.manager.rebootInstance({ instance, number: 1, reboot_type: 'HARD' }, request)
    await vi.waitFor(() => expect(before.journal.action(instance.uuid)?.isOff).toBe(true))
    await before.close()
    const steps: string[] = []

    await withWorker({ folder, beforeStep: (step) => void steps.push(step) }, async (after) => {
      after.manager.recover()
      await after.manager.idle()

      expect(steps).toEqual(['guest', 'capabilities', 'powerOff', 'spawn', 'domainXml', 'launch', 'append'])
      expect(await guestOf(after, instance)).toBe('running')
      expect(await after.sent()).toContainEqual(reported(instance, 1))
    })
  })

  it('that cannot start the guest again says so, and that it is off', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      worker.host.reconfigure({ sev_slots: 0 })

      await act(worker, 'rebootInstance', instance, 1, 'active', 'HARD')

      expect(await worker.sent()).toContainEqual(
        reported(instance, 1, failedWith('HOST_CAPABILITY_MISSING', 'shutoff')),
      )
    })
  })

  it('takes the place of an earlier action that hangs, which is told no more', async () => {
    const shutdown = { timeoutMs: 3_600_000, askAgainMs: 1000, lookMs: 1 }
    await withWorker({ fake: { shutdown_delay_ms: Number.POSITIVE_INFINITY }, shutdown }, async (worker) => {
      const instance = await booted(worker)
      await worker.manager.rebootInstance({ instance, number: 1, reboot_type: 'SOFT' }, request)

      await act(worker, 'rebootInstance', instance, 2, 'active', 'HARD')

      expect(await guestOf(worker, instance)).toBe('running')
      const told = await worker.sent()
      expect(told).toContainEqual(reported(instance, 2))
      expect(told).not.toContainEqual(reported(instance, 1))
    })
  })
})

describe('a guest that is to stand still', () => {
  it('is paused and goes on; asked for once more, nothing is done', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })

      await act(worker, 'pauseInstance', instance, 1)
      await act(worker, 'pauseInstance', instance, 2)
      const between = await guestOf(worker, instance)
      await act(worker, 'unpauseInstance', instance, 3, 'paused')
      await act(worker, 'unpauseInstance', instance, 4, 'paused')

      expect(between).toBe('paused')
      expect(await guestOf(worker, instance)).toBe('running')
      const ends = [1, 2, 3, 4].map((number) => reported(instance, number))
      expect(await worker.sent()).toEqual(expect.arrayContaining(ends))
    })
  })

  it('is suspended and resumed; asked for once more, nothing is done', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)

      await act(worker, 'suspendInstance', instance, 1)
      await act(worker, 'suspendInstance', instance, 2)
      const between = await guestOf(worker, instance)
      await act(worker, 'resumeInstance', instance, 3, 'suspended')
      await act(worker, 'resumeInstance', instance, 4, 'suspended')

      expect(between).toBe('shutoff')
      expect(await guestOf(worker, instance)).toBe('running')
      const ends = [1, 2, 3, 4].map((number) => reported(instance, number))
      expect(await worker.sent()).toEqual(expect.arrayContaining(ends))
    })
  })

  it.each([
    ['pauseInstance', 'INSTANCE_INVALID_STATE'],
    ['unpauseInstance', 'INSTANCE_INVALID_STATE'],
    ['suspendInstance', 'INSTANCE_INVALID_STATE'],
    ['resumeInstance', 'INSTANCE_INVALID_STATE'],
  ] as const)('but is off is refused a %s by name', async (what, code) => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.host.powerOff(instance.uuid)

      await act(worker, what, instance, 1)

      expect(await worker.sent()).toContainEqual(reported(instance, 1, failedWith(code, 'shutoff')))
    })
  })

  it('and is encrypted is not suspended: QEMU refuses, in the words of the conductor, and the guest goes on', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })

      await act(worker, 'suspendInstance', instance, 1)

      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toContainEqual(
        reported(instance, 1, failedWith('OPERATION_NOT_SUPPORTED_FOR_SEV', 'running')),
      )
    })
  })
})
