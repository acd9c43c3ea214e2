import { randomUUID } from 'node:crypto'
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { SpawnFailed, TransportUnavailable } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { aWorker, type ComputeWorker, HOST, request, withWorker } from './support/compute-worker.ts'
import { aFolder } from './support/folders.ts'
import { activeInstance, anInstance } from './support/instances.ts'

const NOW = '2026-01-01T00:02:00.000Z'
const withCode = (code: string) => expect.objectContaining({ code })

const reportActive = (uuid: string, attempt = 1) => ({
  method: 'report_build',
  instance_uuid: uuid,
  attempt,
  host: HOST,
  outcome: { result: 'active', launched_at: NOW },
})
const reportFailed = (uuid: string, code: string, retryable: boolean) => ({
  method: 'report_build',
  instance_uuid: uuid,
  attempt: 1,
  host: HOST,
  outcome: expect.objectContaining({ result: 'failed', retryable, fault: expect.objectContaining({ code }) }),
})
const reportTerminated = (uuid: string, attempt = 1) => ({
  method: 'report_terminated',
  instance_uuid: uuid,
  attempt,
  host: HOST,
  terminated_at: NOW,
})
const nothing = { guests: [], disks: [] }
const running = (uuid: string) => ({ guests: [{ uuid, state: 'running' }], disks: [uuid] })

/** Whoever waits for a spawn that takes long waits for this: it has begun. */
async function spawnBegun(worker: ComputeWorker, uuid: string): Promise<void> {
  await vi.waitFor(async () => expect((await worker.leftovers()).guests).toContainEqual({ uuid, state: 'shutoff' }))
}

describe('a build', () => {
  it.each<MemEncryptionModel | undefined>(['amd-sev', undefined])(
    'of a guest with %s runs it and tells',
    async (model) => {
      await withWorker({}, async (worker) => {
        const instance = anInstance(model ? { model } : {})

        expect(await worker.manager.buildAndRunInstance({ instance }, request)).toBeNull()
        await worker.manager.idle()

        expect(await worker.leftovers()).toEqual(running(instance.uuid))
        expect(await worker.sent()).toEqual([reportActive(instance.uuid)])
      })
    },
  )

  it('of many that came in one message runs each of them and tells all, and delivered again does nothing twice', async () => {
    await withWorker({}, async (worker) => {
      const instances = [anInstance(), anInstance({ uuid: randomUUID() }), anInstance({ uuid: randomUUID() })]
      const builds = instances.map((instance) => ({ context: request.context, instance, allocations: [] }))

      await worker.manager.buildAndRunInstances({ builds, reports_to: '_build-reports' }, request)
      await worker.manager.buildAndRunInstances({ builds, reports_to: '_build-reports' }, request)
      await worker.manager.idle()

      const told = (await worker.sent()) as readonly { readonly method: string; readonly reports?: readonly object[] }[]
      const reports = told.flatMap(
        ({ reports, ...alone }) => reports?.map((each) => ({ ...alone, ...each })) ?? [alone],
      )
      const expected = instances.map(({ uuid }) => ({
        ...reportActive(uuid),
        method: expect.stringMatching(/^report_builds?$/),
      }))
      expect(reports).toHaveLength(3)
      expect(reports).toEqual(expect.arrayContaining(expected))
    })
  })

  it('that fails leaves nothing, and tells whether another host may do', async () => {
    await withWorker({ fake: { fail_spawn: 1 } }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })

      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([reportFailed(instance.uuid, 'SPAWN_FAILED', true)])
    })
  })

  it('of a guest that the host cannot encrypt fails before anything is done', async () => {
    const steps: string[] = []
    await withWorker({ fake: { sev_slots: 0 }, beforeStep: (step) => void steps.push(step) }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })

      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      expect(steps).toEqual(['append', 'capabilities', 'append'])
      expect(await worker.sent()).toContainEqual(reportFailed(instance.uuid, 'HOST_CAPABILITY_MISSING', true))
    })
  })

  it.each([
    ['by its document', { starts_in_clear: true }],
    ['by the word of QEMU alone', { launches_in_clear: true }],
  ])('whose guest runs in clear %s, though it was to be encrypted, destroys it', async (_, fault) => {
    await withWorker({ fake: fault }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })

      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toContainEqual(reportFailed(instance.uuid, 'ENCRYPTION_NOT_EFFECTIVE', true))
    })
  })

  it('that is delivered again does nothing twice, before its end and after', async () => {
    await withWorker({ fake: { spawn_delay_ms: 30 } }, async (worker) => {
      const instance = anInstance()

      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([reportActive(instance.uuid)])
    })
  })

  it('of an older try than the last one is ignored', async () => {
    await withWorker({}, async (worker) => {
      const uuid = randomUUID()

      await worker.manager.buildAndRunInstance({ instance: anInstance({ uuid, attempt: 2 }) }, request)
      await worker.manager.buildAndRunInstance({ instance: anInstance({ uuid, attempt: 1 }) }, request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([reportActive(uuid, 2)])
    })
  })

  it('of a later try takes over from the one that runs', async () => {
    await withWorker({ fake: { spawn_delay_ms: 60_000 } }, async (worker) => {
      const uuid = randomUUID()
      await worker.manager.buildAndRunInstance({ instance: anInstance({ uuid }) }, request)
      await spawnBegun(worker, uuid)
      worker.host.reconfigure({ spawn_delay_ms: 0 })

      await worker.manager.buildAndRunInstance({ instance: anInstance({ uuid, attempt: 2 }) }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(running(uuid))
      expect(await worker.sent()).toEqual([reportActive(uuid, 2)])
    })
  })

  it('waits while as many run as may, first come first served', async () => {
    await withWorker({ fake: { spawn_delay_ms: 5 }, maxConcurrentBuilds: 2 }, async (worker) => {
      let most = 0
      const instances = Array.from({ length: 6 }, () => anInstance({ model: 'amd-sev' }))
      const spying = setInterval(async () => {
        const starting = (await worker.leftovers()).guests.filter((guest) => JSON.stringify(guest).includes('shutoff'))
        most = Math.max(most, starting.length)
      }, 1)

      await Promise.all(instances.map((instance) => worker.manager.buildAndRunInstance({ instance }, request)))
      await worker.manager.idle()
      clearInterval(spying)

      expect((await worker.leftovers()).guests).toHaveLength(6)
      expect(most).toBeLessThanOrEqual(2)
    })
  })

  it.each<[MemEncryptionModel | undefined, string]>([
    ['amd-sev', `${HOST}_amd_sev_es`],
    [undefined, `${HOST}_amd_sev`],
  ])('of a guest with %s is refused when what was claimed for it is a slot of %s', async (model, provider) => {
    const allocations = [{ provider, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]
    await withWorker({ fake: { sev_es_slots: 4 } }, async (worker) => {
      const instance = anInstance(model ? { model } : {})
      await worker.manager.buildAndRunInstance({ instance, allocations }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([reportFailed(instance.uuid, 'CLAIM_MISMATCH', true)])
    })
  })

  it('knows what was claimed for it after a restart, too', async () => {
    const folder = await aFolder()
    const fake = { sev_es_slots: 4 }
    const slot = (provider: string) => [{ provider, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }]
    const [right, wrong] = [anInstance({ model: 'amd-sev' }), anInstance({ model: 'amd-sev' })]
    const before = await aWorker({ folder, fake: { ...fake, spawn_delay_ms: 60_000 }, maxConcurrentBuilds: 1 })
    await before.manager.buildAndRunInstance({ instance: right, allocations: slot(`${HOST}_amd_sev`) }, request)
    await spawnBegun(before, right.uuid)
    await before.manager.buildAndRunInstance({ instance: wrong, allocations: slot(`${HOST}_amd_sev_es`) }, request)
    await before.manager.drain(10)
    await before.close()

    await withWorker({ folder, fake }, async (after) => {
      after.manager.recover()
      await after.manager.idle()

      expect(await after.leftovers()).toEqual(running(right.uuid))
      const told = await after.sent()
      expect(told).toContainEqual(reportActive(right.uuid))
      expect(told).toContainEqual(reportFailed(wrong.uuid, 'CLAIM_MISMATCH', true))
    })
  })

  it('puts the user data on the config drive, after a restart, too', async () => {
    const folder = await aFolder()
    const user_data = Buffer.from('#cloud-config').toString('base64')
    const instance = { ...anInstance(), config_drive: true }
    const drives: unknown[] = []
    const spy = ({ host }: ComputeWorker) =>
      vi.spyOn(host, 'createDisks').mockImplementationOnce(async (_domain, { configDrive }) => {
        drives.push(configDrive.find(({ path }) => path === 'openstack/latest/user_data')?.content.toString())
        throw new SpawnFailed('seen')
      })
    const before = await aWorker({ folder, maxConcurrentBuilds: 1, fake: { spawn_delay_ms: 60_000 } })
    const other = anInstance()
    await before.manager.buildAndRunInstance({ instance: other }, request)
    await spawnBegun(before, other.uuid)
    await before.manager.buildAndRunInstance({ instance, user_data }, request)
    await before.manager.drain(10)
    await before.close()

    await withWorker({ folder }, async (after) => {
      // The other one is taken up as well.
      spy(after)
      spy(after)
      after.manager.recover()
      await after.manager.idle()

      expect(drives).toEqual(expect.arrayContaining(['#cloud-config', undefined]))
    })
  })

  it('leaves nothing behind, whichever step fails', async () => {
    const instance = anInstance({ model: 'amd-sev' })
    const failed: string[] = []
    for (let failing = 1; ; failing++) {
      let calls = 0
      let isDone = false
      const beforeStep = (step: string) => {
        if (step === 'append' || ++calls !== failing) return
        failed.push(step)
        throw new Error('injected')
      }
      await withWorker({ beforeStep }, async (worker) => {
        await worker.manager.buildAndRunInstance({ instance }, request)
        await worker.manager.idle()

        isDone = calls < failing
        if (isDone) return
        expect(await worker.leftovers()).toEqual(nothing)
        const told = await worker.sent()
        expect(told).toEqual([reportFailed(instance.uuid, 'SPAWN_FAILED', true)])
      })
      if (isDone) break
    }
    expect(failed).toEqual(['capabilities', 'createDisks', 'spawn', 'domainXml', 'launch'])
  })

  it('is told as failed only when its undo has succeeded', async () => {
    let refusals = 3
    const beforeStep = (step: string) => {
      if (step === 'spawn') throw new SpawnFailed('injected')
      if (step === 'destroy' && refusals-- > 0) throw new Error('libvirt is away')
    }
    await withWorker({ beforeStep }, async (worker) => {
      await worker.manager.buildAndRunInstance({ instance: anInstance() }, request)
      await worker.manager.idle()

      expect(refusals).toBeLessThan(0)
      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toHaveLength(1)
    })
  })

  it('is not accepted when the journal cannot be written', async () => {
    const beforeStep = (step: string) => {
      if (step === 'append') throw new Error('disk full')
    }
    await withWorker({ beforeStep }, async (worker) => {
      await expect(worker.manager.buildAndRunInstance({ instance: anInstance() }, request)).rejects.toThrow('disk full')
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
    })
  })
})

describe('a termination', () => {
  it('removes the guest and tells, once, however often it is asked for', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()
      await worker.sent()
      const asked = { instance: activeInstance(instance), void: false }

      await Promise.all([
        worker.manager.terminateInstance(asked, request),
        worker.manager.terminateInstance(asked, request),
      ])
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([reportTerminated(instance.uuid)])
    })
  })

  it('asked for again after its end is reported again', async () => {
    await withWorker({}, async (worker) => {
      const asked = { instance: activeInstance(anInstance()), void: false }
      await worker.manager.terminateInstance(asked, request)
      await worker.manager.idle()
      await worker.sent()

      await worker.manager.terminateInstance(asked, request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([reportTerminated(asked.instance.uuid)])
    })
  })

  it('interrupts a build, waits for its rollback, and is the only one to report', async () => {
    await withWorker({ fake: { spawn_delay_ms: 60_000 } }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })
      await worker.manager.buildAndRunInstance({ instance }, request)
      await spawnBegun(worker, instance.uuid)

      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([reportTerminated(instance.uuid)])
    })
  })

  it('does not wait until a build that waits has had its turn', async () => {
    await withWorker({ fake: { spawn_delay_ms: 60_000 }, maxConcurrentBuilds: 1 }, async (worker) => {
      const first = anInstance()
      const second = anInstance()
      await worker.manager.buildAndRunInstance({ instance: first }, request)
      await worker.manager.buildAndRunInstance({ instance: second }, request)
      await spawnBegun(worker, first.uuid)

      await worker.manager.terminateInstance({ instance: second, void: false }, request)

      await vi.waitFor(() => expect(worker.journal.known(second.uuid)?.terminated).toBeDefined())
      expect(worker.journal.build(first.uuid)).toBeDefined()
    })
  })

  it('of a void build removes it and tells nobody', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()
      await worker.sent()

      await worker.manager.terminateInstance({ instance, void: true }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([])
    })
  })

  it('asked for aloud after it was done in silence is told', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()
      await worker.manager.terminateInstance({ instance, void: true }, request)
      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.idle()

      expect(await worker.sent()).toEqual([reportTerminated(instance.uuid)])
    })
  })

  it('of an older try leaves the later one alone', async () => {
    await withWorker({}, async (worker) => {
      const uuid = randomUUID()
      await worker.manager.buildAndRunInstance({ instance: anInstance({ uuid, attempt: 2 }) }, request)
      await worker.manager.idle()

      await worker.manager.terminateInstance({ instance: anInstance({ uuid, attempt: 1 }), void: true }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(running(uuid))
    })
  })

  it('comes before a build that was overtaken on the way: nothing is built', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance()
      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
    })
  })

  it('tries until the host lets the guest go', async () => {
    let refusals = 3
    const beforeStep = (step: string) => {
      if (step === 'destroy' && refusals-- > 0) throw new Error('libvirt is away')
    }
    await withWorker({ beforeStep }, async (worker) => {
      const instance = anInstance()
      await worker.manager.terminateInstance({ instance, void: false }, request)
      await worker.manager.idle()

      expect(await worker.sent()).toContainEqual(reportTerminated(instance.uuid))
    })
  })
})

describe('a worker that was killed', () => {
  /** All that is on disk, as a SIGKILL now would leave it. */
  async function killed(folder: string): Promise<string> {
    const copy = await aFolder()
    const filter = (path: string) => !path.endsWith('lock')
    for (const part of ['host', 'journal']) {
      await cp(join(folder, part), join(copy, part), { recursive: true, filter })
    }
    return copy
  }

  /** Does the work after the preparations, and kills it before each of its steps and after the last. */
  async function killsDuring(
    work: (worker: ComputeWorker) => Promise<void>,
    prepare: (worker: ComputeWorker) => Promise<void> = async () => {},
  ) {
    const kills: { readonly step: string; readonly folder: string }[] = []
    const folder = await aFolder()
    let taken = Promise.resolve()
    // One after the other, for some are taken at a time.
    const beforeStep = (step: string) => {
      taken = taken.then(async () => {
        kills.push({ step: `${kills.length}: before ${step}`, folder: await killed(folder) })
      })
      return taken
    }
    await withWorker({ folder }, prepare)
    await withWorker({ folder, beforeStep }, async (worker) => {
      await work(worker)
      await worker.manager.idle()
      await beforeStep('the end')
    })
    return kills
  }

  async function build(worker: ComputeWorker, instance: Instance): Promise<void> {
    await worker.manager.buildAndRunInstance({ instance }, request)
    await worker.manager.idle()
  }

  it('while it built has after the restart one guest, and tells it once, wherever the kill came', async () => {
    const instance = anInstance({ model: 'amd-sev' })
    const kills = await killsDuring((worker) => build(worker, instance))
    expect(kills.map(({ step }) => step)).toEqual([
      '0: before append',
      '1: before capabilities',
      '2: before createDisks',
      '3: before spawn',
      '4: before domainXml',
      '5: before launch',
      '6: before append',
      '7: before the end',
    ])

    for (const { step, folder } of kills) {
      await withWorker({ folder }, async (worker) => {
        worker.manager.recover()
        await worker.manager.idle()
        // Not acknowledged before the journal had it, so the broker delivers it again.
        await worker.manager.buildAndRunInstance({ instance }, request)
        await worker.manager.idle()

        expect([step, await worker.leftovers()]).toEqual([step, running(instance.uuid)])
        expect([step, await worker.sent()]).toEqual([step, [reportActive(instance.uuid)]])
      })
    }
  })

  it('while it built something that is not wanted any more leaves nothing, and tells nothing', async () => {
    const instance = anInstance({ model: 'amd-sev' })
    const kills = await killsDuring((worker) => build(worker, instance))

    for (const { step, folder } of kills.slice(1, -1)) {
      await withWorker({ folder, isWanted: async () => false }, async (worker) => {
        worker.manager.recover()
        await worker.manager.idle()

        expect([step, await worker.leftovers()]).toEqual([step, nothing])
        expect([step, await worker.sent()]).toEqual([step, []])
        expect(worker.journal.builds()).toEqual([])
      })
    }
  })

  it('while it terminated finishes that, and tells it once', async () => {
    const instance = anInstance({ model: 'amd-sev' })
    const kills = await killsDuring(
      async ({ manager }) => {
        await manager.terminateInstance({ instance: activeInstance(instance), void: false }, request)
      },
      async (worker) => {
        await build(worker, instance)
        await worker.sent()
      },
    )
    expect(kills.map(({ step }) => step)).toEqual([
      '0: before append',
      '1: before destroy',
      '2: before removeDisks',
      '3: before destroy',
      '4: before append',
      '5: before the end',
    ])

    for (const { step, folder } of kills.slice(1)) {
      await withWorker({ folder }, async (worker) => {
        worker.manager.recover()
        await worker.manager.idle()

        expect([step, await worker.leftovers()]).toEqual([step, nothing])
        expect([step, await worker.sent()]).toEqual([step, [reportTerminated(instance.uuid)]])
      })
    }
  })

  // The last: a build of tomorrow, by the conductor's clock. One of the two clocks is wrong, so nobody knows how old it is.
  it.each(['2026-01-01T00:00:00.000Z', '2199-01-01T00:00:00.000Z'])(
    'asks before a build that may have been long on its way (%s), and leaves it when the instance lives elsewhere',
    async (updated_at) => {
      const late = { ...anInstance(), updated_at }
      const asked: boolean[] = []
      for (const answer of [false, true]) {
        const isWanted = async () => {
          asked.push(answer)
          return answer
        }
        await withWorker({ isWanted }, async (worker) => {
          await build(worker, late)
          await worker.manager.idle()

          expect(await worker.leftovers()).toEqual(answer ? running(late.uuid) : nothing)
          const reported = (await worker.sent()).filter((message) => JSON.stringify(message).includes('report_build'))
          expect(reported).toHaveLength(answer ? 1 : 0)
        })
      }
      expect(asked).toEqual([false, true])
    },
  )

  it('over the same build again and again gives it up, and says so', async () => {
    const instance = anInstance()
    const kills = await killsDuring((worker) => build(worker, instance))
    let folder = kills[2]?.folder as string
    for (let restart = 1; restart <= 3; restart++) folder = await killedAtDisks(folder)

    await withWorker({ folder }, async (worker) => {
      worker.manager.recover()
      await worker.manager.idle()

      expect(await worker.leftovers()).toEqual(nothing)
      expect(await worker.sent()).toEqual([reportFailed(instance.uuid, 'BUILD_INTERRUPTED', true)])
    })
  })

  /** Restarts, and is killed again when the build has got as far as its disks. */
  async function killedAtDisks(folder: string): Promise<string> {
    const kills: string[] = []
    const beforeStep = async (step: string) => {
      if (step === 'createDisks') kills.push(await killed(folder))
    }
    await withWorker({ folder, beforeStep }, async ({ manager }) => {
      manager.recover()
      await manager.idle()
    })
    expect(kills).toHaveLength(1)
    return kills[0] as string
  }

  it('waits for the conductor while that is away', async () => {
    const instance = anInstance()
    const kills = await killsDuring((worker) => build(worker, instance))
    let tries = 0
    const isWanted = async () => {
      if (++tries < 4) throw new TransportUnavailable('no broker')
      return true
    }

    await withWorker({ folder: kills[3]?.folder as string, isWanted }, async (worker) => {
      worker.manager.recover()
      await worker.manager.idle()

      expect(tries).toBe(4)
      expect(await worker.leftovers()).toEqual(running(instance.uuid))
    })
  })
})

describe('draining', () => {
  it('lets running builds end, and begins nothing more', async () => {
    let letGo = () => {}
    const released = new Promise<void>((resolve) => {
      letGo = resolve
    })
    let isVerifying = false
    const beforeStep = (step: string) => {
      if (step !== 'domainXml') return undefined
      isVerifying = true
      return released
    }
    const worker = await aWorker({ beforeStep })
    const instance = anInstance({ model: 'amd-sev' })
    await worker.manager.buildAndRunInstance({ instance }, request)
    await vi.waitFor(() => expect(isVerifying).toBe(true))

    const drained = worker.manager.drain(60_000)
    expect(worker.manager.drain(0)).toBe(drained)
    await expect(worker.manager.buildAndRunInstance({ instance: anInstance() }, request)).rejects.toThrow(
      withCode('SERVICE_STOPPING'),
    )
    await expect(worker.manager.terminateInstance({ instance, void: false }, request)).rejects.toThrow(
      withCode('SERVICE_STOPPING'),
    )
    letGo()
    await drained

    expect(await worker.leftovers()).toEqual(running(instance.uuid))
    expect(await worker.sent()).toEqual([reportActive(instance.uuid)])
    await worker.close()
  })

  it('rolls back after the grace, and the next start builds again without counting an interruption', async () => {
    const folder = await aFolder()
    const [building, waiting] = [anInstance({ model: 'amd-sev' }), anInstance()]
    const before = await aWorker({ folder, fake: { spawn_delay_ms: 60_000 }, maxConcurrentBuilds: 1 })
    await before.manager.buildAndRunInstance({ instance: building }, request)
    await before.manager.buildAndRunInstance({ instance: waiting }, request)
    await spawnBegun(before, building.uuid)

    await before.manager.drain(10)

    expect(await before.leftovers()).toEqual(nothing)
    await before.close()
    await withWorker({ folder }, async (after) => {
      expect(after.journal.builds().map(({ handedBack }) => handedBack)).toEqual([true, true])
      after.manager.recover()
      await after.manager.idle()

      expect((await after.leftovers()).disks.toSorted()).toEqual([building.uuid, waiting.uuid].toSorted())
      const told = await after.sent()
      expect(told).toContainEqual(reportActive(building.uuid))
      expect(told).toContainEqual(reportActive(waiting.uuid))
    })
  })
})

describe('questions', () => {
  it('about a guest are answered with its live document, or that there is none', async () => {
    await withWorker({}, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()

      const { xml } = await worker.manager.getDomainXml({ instance_uuid: instance.uuid }, request)
      expect(xml).toContain(`<uuid>${instance.uuid}</uuid>`)
      await expect(worker.manager.getDomainXml({ instance_uuid: randomUUID() }, request)).rejects.toThrow(
        withCode('GUEST_NOT_FOUND'),
      )
    })
  })

  it('about all guests tell which are ours, by which try, and how many keys the kernel counts', async () => {
    await withWorker({ fake: { sev_es_slots: 4, stray_keys: { sev_es: 1 } } }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev', attempt: 2 })
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()
      const foreign = await spawnedByHand(worker, anInstance())

      expect(await worker.manager.listGuests({}, request)).toEqual({
        guests: [
          { uuid: instance.uuid, state: 'running', model: 'amd-sev', attempt: 2, over: false, work: null },
          { uuid: foreign, state: 'running', model: null, attempt: null, over: false, work: null },
        ],
        busy: 0,
        keys: { sev: { current: 1, capacity: 15 }, sev_es: { current: 1, capacity: 4 } },
        disks: [],
      })
    })
  })

  it('about all guests tell what is under way, and of a guest that came back after its end that it is over', async () => {
    let letGo = () => {}
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    const beforeStep = (step: string) => (step === 'destroy' ? held : undefined)
    await withWorker({ beforeStep }, async (worker) => {
      const instance = anInstance({ model: 'amd-sev' })
      await worker.manager.buildAndRunInstance({ instance }, request)
      await worker.manager.idle()
      await worker.manager.terminateInstance({ instance: activeInstance(instance), void: false }, request)
      const during = await worker.manager.listGuests({}, request)
      letGo()
      await worker.manager.idle()
      await spawnedByHand(worker, instance)

      const known = { uuid: instance.uuid, state: 'running', model: 'amd-sev', attempt: 1 }
      expect(during).toMatchObject({ guests: [{ ...known, over: false, work: 'termination' }], busy: 1 })
      expect(await worker.manager.listGuests({}, request)).toMatchObject({
        guests: [{ ...known, over: true, work: null }],
        busy: 0,
      })
    })
  })
})

/** A guest that somebody else started on the host. */
async function spawnedByHand({ host }: ComputeWorker, instance: Instance): Promise<string> {
  const domain = buildDomain(guestSpec(instance), await host.capabilities(request.signal))
  await host.createDisks(domain, diskContents(instance, domain), request.signal)
  await host.spawn(domain, request.signal)
  return instance.uuid
}
