import { describe, expect, it, vi } from 'vitest'
import { HypervisorUnavailable, LibvirtError } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { at, booted, failedWith, guestOf, reported } from './support/act.ts'
import { aWorker, type ComputeWorker, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { killsDuring } from './support/kills-during.ts'

async function stop(worker: ComputeWorker, instance: Instance, number = 1, clean_shutdown = true): Promise<void> {
  await worker.manager.stopInstance(
    { instance: at(instance, 'active', 'powering-off'), number, clean_shutdown },
    request,
  )
  await worker.manager.idle()
}

async function start(worker: ComputeWorker, instance: Instance, number = 2): Promise<void> {
  await worker.manager.startInstance({ instance: at(instance, 'stopped', 'powering-on'), number }, request)
  await worker.manager.idle()
}

describe('a stop', () => {
  it('lets the guest shut down, and tells', async () => {
    const steps: string[] = []
    await withWorker(
      { fake: { shutdown_delay_ms: 5 }, beforeStep: (step) => void steps.push(step) },
      async (worker) => {
        const instance = await booted(worker, { model: 'amd-sev' })
        steps.length = 0

        await stop(worker, instance)

        expect(await guestOf(worker, instance)).toBe('shutoff')
        expect(steps.filter((step) => step === 'shutdown')).toEqual(['shutdown'])
        expect(await worker.sent()).toEqual([reported(instance, 1)])
        expect((await worker.leftovers()).disks).toEqual([instance.uuid])
      },
    )
  })

  it('asks a guest that does not hear again and again, and takes its power in the end', async () => {
    let asked = 0
    const beforeStep = (step: string) => {
      if (step === 'shutdown') asked++
    }
    const shutdown = { timeoutMs: 60, askAgainMs: 20, lookMs: 1 }
    const fake = { shutdown_delay_ms: Number.POSITIVE_INFINITY }
    await withWorker({ fake, shutdown, beforeStep }, async (worker) => {
      const instance = await booted(worker)

      await stop(worker, instance)

      expect(asked).toBeGreaterThanOrEqual(1)
      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 1)])
    })
  })

  it('gives a guest as long as its image says, and not as long as the host gives others', async () => {
    const shutdown = { timeoutMs: 3_600_000, askAgainMs: 1, lookMs: 1 }
    const fake = { shutdown_delay_ms: Number.POSITIVE_INFINITY }
    await withWorker({ fake, shutdown }, async (worker) => {
      const instance = await booted(worker, { properties: { os_shutdown_timeout: '0' } })

      await stop(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 1)])
    })
  })

  it.each([
    ['is to be hard', false, undefined],
    ['cannot be asked for', true, new LibvirtError('the agent is not connected', { libvirt_code: 86 })],
  ])('that %s takes the power at once', async (_why, clean, refusal) => {
    const shutdown = { timeoutMs: 3_600_000, askAgainMs: 1000, lookMs: 1000 }
    const fake = { shutdown_delay_ms: Number.POSITIVE_INFINITY }
    const beforeStep = (step: string) => {
      if (step === 'shutdown' && refusal) throw refusal
    }
    await withWorker({ fake, shutdown, beforeStep }, async (worker) => {
      const instance = await booted(worker)

      await stop(worker, instance, 1, clean)

      expect(await guestOf(worker, instance)).toBe('shutoff')
    })
  })

  it('delivered again does nothing twice: under way it is the same one, and after its end that is told once more', async () => {
    await withWorker({ fake: { shutdown_delay_ms: 20 } }, async (worker) => {
      const instance = await booted(worker)
      const args = { instance: at(instance, 'active', 'powering-off'), number: 1, clean_shutdown: true }

      await Promise.all([worker.manager.stopInstance(args, request), worker.manager.stopInstance(args, request)])
      await worker.manager.idle()
      await stop(worker, instance)

      expect(await worker.sent()).toEqual([reported(instance, 1), reported(instance, 1)])
    })
  })

  it('that comes late, after the start that followed it, does nothing', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await stop(worker, instance, 1)
      await start(worker, instance, 2)
      await worker.sent()

      await stop(worker, instance, 1)

      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toEqual([])
    })
  })

  it('of a guest that is not here fails with that', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.host.destroy(instance.uuid)

      await stop(worker, instance)

      const outcome = failedWith('GUEST_NOT_FOUND', 'missing')
      expect(await worker.sent()).toEqual([reported(instance, 1, outcome)])
    })
  })

  it('goes on asking a hypervisor that is away, and tells no failure of that', async () => {
    let away = 3
    const beforeStep = (step: string) => {
      if (step === 'powerOff' && away-- > 0) throw new HypervisorUnavailable('libvirtd is away')
    }
    await withWorker({ beforeStep }, async (worker) => {
      const instance = await booted(worker)

      await stop(worker, instance)

      expect(away).toBeLessThan(0)
      expect(await worker.sent()).toEqual([reported(instance, 1)])
    })
  })

  it('that was under way when the worker died is done by the next one', async () => {
    const folder = await aFolder()
    const fake = { shutdown_delay_ms: Number.POSITIVE_INFINITY }
    const before = await aWorker({ folder, fake })
    const instance = await booted(before)
    const args = { instance: at(instance, 'active', 'powering-off'), number: 1, clean_shutdown: true }
    await before.manager.stopInstance(args, request)
    await before.close()

    await withWorker({ folder }, async (after) => {
      after.manager.recover()
      await after.manager.idle()

      expect(await guestOf(after, instance)).toBe('shutoff')
      expect(await after.sent()).toEqual([reported(instance, 1)])
    })
  })

  it('gives way to a deletion at once, and is not told any more', async () => {
    const fake = { shutdown_delay_ms: Number.POSITIVE_INFINITY }
    await withWorker({ fake }, async (worker) => {
      const instance = await booted(worker)
      const args = { instance: at(instance, 'active', 'powering-off'), number: 1, clean_shutdown: true }
      await worker.manager.stopInstance(args, request)

      await worker.manager.terminateInstance({ instance: at(instance, 'active', 'deleting'), void: false }, request)
      await worker.manager.idle()
      await stop(worker, instance)

      expect(await worker.leftovers()).toEqual({ guests: [], disks: [] })
      const told = await worker.sent()
      expect(told).not.toContainEqual(expect.objectContaining({ method: 'report_action' }))
      expect(told).toContainEqual(expect.objectContaining({ method: 'report_terminated' }))
    })
  })

  it('of a try that a later one took the place of does nothing', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker)
      await worker.manager.buildAndRunInstance({ instance: { ...instance, attempt: 2 } }, request)
      await worker.manager.idle()
      await worker.sent()

      await stop(worker, instance)

      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.sent()).toEqual([])
    })
  })

  it('is answered after a restart as before, however the journal was shrunk', async () => {
    const folder = await aFolder()
    const before = await aWorker({ folder })
    const instance = await booted(before)
    await stop(before, instance)
    await before.sent()
    await before.close()

    for (const _restart of [1, 2]) {
      await withWorker({ folder }, async (after) => {
        after.manager.recover()
        await stop(after, instance)

        expect(await after.sent()).toEqual([reported(instance, 1)])
      })
    }
  })
})

describe('a start', () => {
  it('runs the guest again, encrypted as before, and tells', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      await stop(worker, instance)
      await worker.sent()

      await start(worker, instance)

      expect(await guestOf(worker, instance)).toBe('running')
      expect(await worker.host.domainXml(instance.uuid, request.signal)).toContain('launchSecurity')
      expect(await worker.sent()).toEqual([reported(instance, 2)])
    })
  })

  it('of a guest that would run in clear, though it is to be encrypted, leaves it off, with the reason', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      await stop(worker, instance)
      await worker.sent()
      worker.host.reconfigure({ starts_in_clear: true })

      await start(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      const outcome = failedWith('ENCRYPTION_NOT_EFFECTIVE', 'shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 2, outcome)])
    })
  })

  it('of a guest that somebody started in clear meanwhile powers it off, with the reason', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      vi.spyOn(worker.host, 'domainXml').mockResolvedValue('<domain/>')

      await start(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(await worker.sent()).toContainEqual(
        reported(instance, 2, failedWith('ENCRYPTION_NOT_EFFECTIVE', 'shutoff')),
      )
    })
  })

  it.each([
    ['no SEV any more', { sev_slots: 0 }, 'HOST_CAPABILITY_MISSING'],
    ['its keys in use by others', { stray_keys: { sev: 15 } }, 'ENCRYPTION_SLOTS_EXHAUSTED'],
    ['a QEMU that fails', { fail_spawn: 1 }, 'SPAWN_FAILED'],
  ])('on a host with %s leaves the guest off, with the reason', async (_what, changes, code) => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      await stop(worker, instance)
      await worker.sent()
      worker.host.reconfigure(changes)

      await start(worker, instance)

      const outcome = failedWith(code, 'shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 2, outcome)])
    })
  })

  it.each([
    ['is at something else', new LibvirtError('cannot acquire state change lock', { libvirt_code: 68 }), 2],
    ['does not answer', new HypervisorUnavailable('the connection to libvirt is lost'), 12],
  ])(
    'of a guest whose proof the hypervisor cannot give at once, for it %s, takes nothing down',
    async (_, hiccup, times) => {
      await withWorker({}, async (worker) => {
        const instance = await booted(worker, { model: 'amd-sev' })
        const launch = vi.spyOn(worker.host, 'launch')
        for (let n = 0; n < times; n++) launch.mockRejectedValueOnce(hiccup)
        const powerOff = vi.spyOn(worker.host, 'powerOff')

        await start(worker, instance)

        expect(powerOff).not.toHaveBeenCalled()
        expect(launch).toHaveBeenCalledTimes(times + 1)
        expect(await guestOf(worker, instance)).toBe('running')
        expect(await worker.sent()).toEqual([reported(instance, 2)])
      })
    },
  )

  it('of a guest that nobody can prove takes it down in the end, with the reason', async () => {
    await withWorker({}, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      vi.spyOn(worker.host, 'launch').mockRejectedValue(
        new LibvirtError('internal error: End of file from qemu monitor', { libvirt_code: 1 }),
      )

      await start(worker, instance)

      expect(await guestOf(worker, instance)).toBe('shutoff')
      expect(await worker.sent()).toEqual([reported(instance, 2, failedWith('LIBVIRT_ERROR', 'shutoff'))])
    })
  })

  it('of a guest that runs already only proves it', async () => {
    const steps: string[] = []
    await withWorker({ beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      steps.length = 0

      await start(worker, instance)

      expect(steps).toEqual(['append', 'guest', 'domainXml', 'launch', 'append'])
      expect(await worker.sent()).toEqual([reported(instance, 2)])
    })
  })
})

describe('a worker that was killed', () => {
  it('while it stopped a guest has it stopped after the restart, wherever the kill came', async () => {
    const { prepared: instance, kills } = await killsDuring((worker) => booted(worker, { model: 'amd-sev' }), stop)

    expect(kills.map(({ step }) => step)).toEqual(['append', 'guest', 'shutdown', 'guest', 'powerOff', 'append', 'end'])
    for (const { folder } of kills) {
      await withWorker({ folder }, async (worker) => {
        worker.manager.recover()
        await stop(worker, instance)

        expect(await guestOf(worker, instance)).toBe('shutoff')
        expect(await worker.sent()).toContainEqual(reported(instance, 1))
      })
    }
  })

  it('while it started a guest has it running after the restart, proven, wherever the kill came', async () => {
    const off = async (worker: ComputeWorker) => {
      const instance = await booted(worker, { model: 'amd-sev' })
      await stop(worker, instance)
      await worker.sent()
      return instance
    }
    const { prepared: instance, kills } = await killsDuring(off, start)

    expect(kills.map(({ step }) => step)).toEqual([
      ...['append', 'guest', 'capabilities', 'powerOff', 'spawn', 'domainXml', 'launch', 'append', 'end'],
    ])
    for (const { folder } of kills) {
      await withWorker({ folder }, async (worker) => {
        worker.manager.recover()
        await start(worker, instance)

        expect(await guestOf(worker, instance)).toBe('running')
        expect(await worker.sent()).toContainEqual(reported(instance, 2))
      })
    }
  })
})
