import { randomUUID } from 'node:crypto'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { HALTING_FIRMWARE_SAYS } from '../servers/halting-firmware.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing = await whyNoLibvirt()
if (missing) notRun({ name: 'private libvirt daemons with real guests', ...missing })

describe.runIf(missing === undefined)('private libvirt daemons', () => {
  let one: PrivateLibvirt
  let two: PrivateLibvirt

  beforeAll(async () => {
    ;[one, two] = await Promise.all([startLibvirt({ name: 'one' }), startLibvirt({ name: 'two', qemuUser: 'root' })])
  })

  afterAll(async () => {
    await Promise.all([one?.stop(), two?.stop()])
  })

  /** Defines and starts a guest that does nothing. */
  async function aGuest(host: PrivateLibvirt) {
    const uuid = randomUUID()
    const log = join(host.folder, `${uuid}.log`)
    const file = join(host.folder, `${uuid}.xml`)
    const document = `<domain type="${host.virtType}"><name>${uuid}</name><uuid>${uuid}</uuid>
      <memory unit="MiB">64</memory><vcpu>1</vcpu>
      <os firmware="efi"><type arch="x86_64" machine="q35">hvm</type></os><features><acpi/></features>
      <devices><serial type="file"><source path="${log}"/></serial><memballoon model="none"/></devices></domain>`
    await writeFile(file, document)
    await host.virsh('define', '--validate', file)
    await host.virsh('start', uuid)
    return { uuid, console: () => readFile(log, 'utf8') }
  }

  const states = async (host: PrivateLibvirt, uuid: string) => (await host.virsh('domstate', '--reason', uuid)).trim()

  it('are hosts of their own, side by side, which do not see each other', async () => {
    const names = await Promise.all([one, two].map((host) => host.virsh('hostname')))
    const uuids = await Promise.all(
      [one, two].map((host) => host.virsh('sysinfo').catch(() => host.virsh('capabilities'))),
    )
    const guest = await aGuest(one)

    expect(names.map((name) => name.trim())).toEqual(['one', 'two'])
    expect(new Set(uuids).size).toBe(2)
    expect(await one.virsh('list', '--name')).toContain(guest.uuid)
    expect((await two.virsh('list', '--all', '--name')).trim()).toBe('')
  })

  it('run real guests, whose firmware halts and has said so on the serial console', async () => {
    const guest = await aGuest(two)

    await vi.waitFor(async () => expect(await guest.console()).toBe(HALTING_FIRMWARE_SAYS))
    expect(await states(two, guest.uuid)).toBe('running (booted)')
    expect((await two.guestProcess(guest.uuid))?.args).toContain(guest.uuid)
  })

  it('may be killed and started again, and guests run on', async () => {
    const guest = await aGuest(one)
    const before = await one.guestProcess(guest.uuid)

    await one.kill()
    await expect(one.virsh('list')).rejects.toThrow()
    await one.restart()

    expect(await one.guestProcess(guest.uuid)).toMatchObject({ pid: before?.pid })
    expect(await states(one, guest.uuid)).toBe('running (booted)')
  })

  it('may hang for a while', async () => {
    await one.pause()
    let answered = false
    const answer = one.virsh('hostname').finally(() => {
      answered = true
    })
    await two.virsh('capabilities')

    expect(answered).toBe(false)
    await one.resume()
    expect((await answer).trim()).toBe('one')
  })

  it('notice that a guest was killed', async () => {
    const guest = await aGuest(two)
    const qemu = await two.guestProcess(guest.uuid)

    process.kill(qemu?.pid ?? Number.NaN, 'SIGKILL')

    await vi.waitFor(async () => expect(await states(two, guest.uuid)).toBe('shut off (crashed)'))
  })

  it('leave nothing behind when the host is lost and when they are stopped', async () => {
    const host = await startLibvirt({ name: 'three' })
    await aGuest(host)

    await host.crash()
    expect(await host.processes()).toEqual([])
    await host.stop()

    await expect(access(host.folder)).rejects.toThrow('ENOENT')
    expect(await readFile('/proc/self/mounts', 'utf8')).not.toContain(host.folder)
  })
})
