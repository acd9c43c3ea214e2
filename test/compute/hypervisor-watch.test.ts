import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { HostView } from '../../src/compute/host-view.ts'
import { HypervisorWatch } from '../../src/compute/hypervisor-watch.ts'
import { LastLook } from '../../src/compute/last-look.ts'
import { NO_LIMITS } from '../../src/compute/libvirt/slot-limits.ts'
import { HypervisorUnavailable } from '../../src/errors.ts'
import { aFolder } from './support/folders.ts'

const T0 = Date.parse('2026-03-01T10:00:00Z')
const closing: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

/** A watch over a simulated host, whose clock is a number; nobody waits for what hangs. */
async function aWatch({ lastLook, hangs = false }: { lastLook?: LastLook; hangs?: boolean } = {}) {
  const driver = await openFakeHost({ folder: await aFolder(), sev_slots: 15, hangs })
  const logged: string[] = []
  const logger = pino({}, { write: (line: string) => void logged.push(JSON.parse(line).msg) })
  const view = new HostView({ driver, limits: NO_LIMITS, logger: pino({ level: 'silent' }) })
  const time = { ms: T0 }
  const answers: string[] = []
  const stop = new AbortController()
  const watch = new HypervisorWatch({
    ...{ host: 'node1', driver, view, logger, waitMs: 1, silentAfterMs: 10_000, lastLook },
    onAnswer: () => answers.push('again'),
    now: () => time.ms,
    clock: () => new Date(time.ms),
  })
  closing.push(async () => {
    stop.abort()
    driver.reconfigure({ hangs: false })
    await driver.close()
  })
  const slots = async () => {
    const { capabilities, silence } = await watch.look(stop.signal)
    return [capabilities.slots['amd-sev'], silence?.since, silence?.reason]
  }
  return { driver, watch, time, answers, logged, slots, stop }
}

describe('a watched hypervisor', () => {
  it('is asked anew at each look', async () => {
    const { driver, slots, watch } = await aWatch()

    expect(await slots()).toEqual([15, undefined, undefined])
    driver.reconfigure({ sev_slots: 3 })
    expect(await slots()).toEqual([3, undefined, undefined])
    expect(watch.trouble).toBeUndefined()
  })

  it('that hangs is told as it was, and after a while as silent, since it was asked', async () => {
    const { driver, time, slots, watch, logged } = await aWatch()
    await slots()
    driver.reconfigure({ hangs: true, sev_slots: 3 })
    time.ms += 1000
    const since = new Date(time.ms).toISOString()

    expect(await slots()).toEqual([15, undefined, undefined])
    time.ms += 9999
    expect(await slots()).toEqual([15, undefined, undefined])
    time.ms += 1
    const reason = 'no answer to a question for more than 10 s'
    expect(await slots()).toEqual([15, since, reason])
    time.ms += 60_000
    expect(await slots()).toEqual([15, since, reason])
    expect(watch.trouble).toBe(`simulated host does not answer since ${since}: ${reason}`)
    expect(logged).toEqual(['simulated host does not answer: no new guests come here'])
  })

  it('that is silent when the worker starts is told as it was before, and as silent at once', async () => {
    const folder = await aFolder()
    const before = await aWatch({ lastLook: new LastLook(folder) })
    before.driver.reconfigure({ sev_slots: 7 })
    await before.slots()

    const { driver, slots, answers } = await aWatch({ lastLook: new LastLook(folder), hangs: true })
    const silent = await slots()
    driver.reconfigure({ hangs: false })
    await vi.waitFor(() => expect(answers).toEqual(['again']))

    const since = new Date(T0).toISOString()
    expect(silent).toEqual([7, since, 'no answer since this worker has started'])
    expect(await slots()).toEqual([15, undefined, undefined])
  })

  it('of which nothing can be read that was kept is waited for', async () => {
    const folder = await aFolder()
    await writeFile(join(folder, 'host.json'), '{"capabilities": {}}')
    const { driver, slots } = await aWatch({ lastLook: new LastLook(folder), hangs: true })

    const asked = slots()
    driver.reconfigure({ hangs: false })

    expect(await asked).toEqual([15, undefined, undefined])
  })

  it('that goes on says so by itself, and is told as it is', async () => {
    const { driver, time, slots, answers, logged } = await aWatch()
    await slots()
    driver.reconfigure({ hangs: true })
    await slots()
    time.ms += 10_000
    await slots()

    driver.reconfigure({ hangs: false, sev_slots: 3 })

    await vi.waitFor(() => expect(answers).toEqual(['again']))
    expect(await slots()).toEqual([3, undefined, undefined])
    expect(logged).toEqual(['simulated host does not answer: no new guests come here', 'simulated host answers again'])
  })

  it('has never more than one question to answer', async () => {
    const { driver, slots } = await aWatch()
    await slots()
    driver.reconfigure({ hangs: true })
    const asked = vi.spyOn(driver, 'capabilities')

    for (let n = 0; n < 5; n++) await slots()

    expect(asked).toHaveBeenCalledTimes(1)
  })

  it('that is away is silent at once, and the first reason stays', async () => {
    const { driver, time, slots } = await aWatch()
    await slots()
    const gone = vi.spyOn(driver, 'resources')
    gone.mockRejectedValue(new HypervisorUnavailable('connect ENOENT /run/libvirt-sock'))
    const since = new Date(time.ms).toISOString()

    expect(await settled(slots)).toEqual([15, since, 'connect ENOENT /run/libvirt-sock'])
    gone.mockRejectedValue(new HypervisorUnavailable('another reason'))
    time.ms += 1000
    expect(await settled(slots)).toEqual([15, since, 'connect ENOENT /run/libvirt-sock'])
    gone.mockRestore()
    expect(await settled(slots)).toEqual([15, undefined, undefined])
  })

  it('of which nothing is known yet is waited for, and why nothing is known is told', async () => {
    const { driver, slots } = await aWatch()
    driver.reconfigure({ hangs: true })
    const first = slots()
    driver.reconfigure({ hangs: false })

    expect(await first).toEqual([15, undefined, undefined])
  })

  it('that fails at the first look makes the look fail', async () => {
    const { driver, slots } = await aWatch()
    vi.spyOn(driver, 'resources').mockRejectedValueOnce(new HypervisorUnavailable('connect ENOENT'))

    await expect(slots()).rejects.toThrow('connect ENOENT')
    expect(await slots()).toEqual([15, undefined, undefined])
  })

  it('is not called silent by a worker that stops', async () => {
    const { driver, slots, stop, watch } = await aWatch()
    await slots()
    driver.reconfigure({ hangs: true })
    await slots()

    stop.abort()

    await expect(slots()).rejects.toThrow()
    expect(watch.trouble).toBeUndefined()
  })
})

/** What fails does so at once, but a look may be over first: the next one tells. */
async function settled<T>(look: () => Promise<T>): Promise<T> {
  await look()
  return await look()
}
