import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openSimulatedCloud } from './simulated-cloud.ts'

const SETTLE = { timeout: 60_000, interval: 50 }
const never = new AbortController().signal

describe('a control plane that follows reality', () => {
  it('lets instances follow guests that die, are started, or vanish behind its back, and keeps their slots', async () => {
    const cloud = await openSimulatedCloud()
    await cloud.on('h1')
    const [dies, started, vanishes, lives] = (await cloud.boot(4)) as [string, string, string, string]
    await cloud.conductor.stopInstance(cloud.context, { instance_uuid: started })
    await cloud.becomes(started, 'stopped')
    const before = cloud.events.length

    await cloud.machine('h1').powerOff(dies)
    await cloud.machine('h1').destroy(vanishes)
    await cloud.machine('h1').startDefined(started, never)

    await cloud.becomes(dies, 'stopped')
    await cloud.becomes(vanishes, 'error')
    const told = [
      ...[dies, started].flatMap((uuid) => [`instance.power_off.start ${uuid}`, `instance.power_off.end ${uuid}`]),
      ...[`instance.power_off.start ${vanishes}`, `instance.power_off.error ${vanishes}`],
    ]
    await vi.waitFor(() => expect(cloud.events.slice(before)).toEqual(expect.arrayContaining(told)), SETTLE)
    await cloud.becomes(started, 'stopped')
    expect(await cloud.guest('h1', started)).toBe('shutoff')
    expect((await cloud.get(vanishes)).fault).toMatchObject({ code: 'GUEST_NOT_FOUND' })
    expect([await cloud.slots(), (await cloud.get(lives)).vm_state]).toEqual([{ h1: 4 }, 'active'])

    await cloud.conductor.startInstance(cloud.context, { instance_uuid: dies })
    await cloud.conductor.rebootInstance(cloud.context, { instance_uuid: vanishes, reboot_type: 'HARD' })

    await cloud.becomes(dies, 'active')
    await cloud.becomes(vanishes, 'active')
    expect(await cloud.audit()).toEqual([])
  }, 120_000)

  it('sees what happened while the worker was away, and starts what ran when its host has booted, if that is wanted', async () => {
    const cloud = await openSimulatedCloud()
    await cloud.on('h1')
    const [dies, runs] = (await cloud.boot(2)) as [string, string]
    await cloud.off('h1')
    await cloud.endGuest('h1', dies)
    await cloud.on('h1')
    await cloud.becomes(dies, 'stopped')

    await cloud.off('h1')
    await cloud.endGuest('h1', runs)
    await writeFile(join(cloud.stateFolder('h1'), 'boot_id'), 'another boot\n')
    await cloud.on('h1', {}, { resume_guests_state_on_host_boot: true })

    await vi.waitFor(() => expect(cloud.events).toContain(`instance.reboot.end ${runs}`), SETTLE)
    await cloud.becomes(runs, 'active')
    expect([await cloud.guest('h1', runs), await cloud.guest('h1', dies)]).toEqual(['running', 'shutoff'])
    expect([await cloud.slots(), await cloud.audit()]).toEqual([{ h1: 2 }, []])
  }, 120_000)
})
