import { describe, expect, it } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import type { DomainSpec } from '../../src/compute/libvirt/domain-spec.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { attribute, child, parseXml, textOf } from '../../src/compute/libvirt/parse-xml.ts'
import { encryptionFlaw } from '../../src/compute/libvirt/verify-encryption.ts'
import type { VirtDriver } from '../../src/compute/virt-driver.ts'
import type { Instance } from '../../src/objects/instance.ts'
import type { MemEncryption } from '../../src/objects/mem-encryption.ts'
import { aFolder } from './support/folders.ts'
import { aCapableHost } from './support/hosts.ts'
import { anInstance, type InstanceChanges } from './support/instances.ts'

interface Machine {
  /** Opens the hypervisor as a worker does; again after `close`, as after a restart. */
  open(): Promise<VirtDriver>
}

interface Kind {
  readonly name: string
  /** A machine of its own for this test: SEV guests up to `sevSlots`, nothing else encrypted. */
  machine(options: { readonly sevSlots: number; readonly spawnDelayMs?: number }): Promise<Machine>
}

const simulated: Kind = {
  name: 'simulated host',
  async machine({ sevSlots, spawnDelayMs = 0 }) {
    const folder = await aFolder()
    return { open: () => openFakeHost({ folder, sev_slots: sevSlots, spawn_delay_ms: spawnDelayMs }) }
  },
}

const never = new AbortController().signal

async function domainFor(driver: VirtDriver, instance: Instance): Promise<DomainSpec> {
  return buildDomain(guestSpec(instance), await driver.capabilities(never))
}

async function boot(driver: VirtDriver, changes: InstanceChanges = {}): Promise<DomainSpec> {
  const instance = anInstance(changes)
  const domain = await domainFor(driver, instance)
  await driver.createDisks(domain, diskContents(instance, domain), never)
  await driver.spawn(domain, never)
  return domain
}

async function remove(driver: VirtDriver, uuid: string): Promise<void> {
  await driver.destroy(uuid)
  await driver.removeDisks(uuid)
}

const withCode = (code: string) => expect.objectContaining({ code })

/** What every driver keeps; a driver for a real hypervisor joins the list. */
describe.each([simulated])('driver contract: $name', ({ machine }) => {
  it('tells what the host offers, and why it does not offer the rest', async () => {
    const driver = await (await machine({ sevSlots: 3 })).open()

    const host = await driver.capabilities(never)
    const resources = await driver.resources(never)

    expect(host).toMatchObject({ arch: 'x86_64', supportsUefi: true, slots: { 'amd-sev': 3 } })
    expect(host.machineTypes).toEqual(expect.arrayContaining(['q35', 'pc']))
    expect(host.missing['amd-sev-snp']).toEqual(expect.any(String))
    expect(Object.values(resources).every((amount) => amount > 0)).toBe(true)
    await driver.close()
  })

  it('runs a guest in clear and an encrypted one, and shows their documents', async () => {
    const driver = await (await machine({ sevSlots: 1 })).open()

    const clear = await boot(driver, { properties: { hw_machine_type: 'pc', hw_firmware_type: 'bios' } })
    const encrypted = await boot(driver, { model: 'amd-sev' })

    expect(await driver.guests(never)).toEqual(
      expect.arrayContaining([
        { uuid: clear.uuid, state: 'running' },
        { uuid: encrypted.uuid, state: 'running' },
      ]),
    )
    const live = await driver.domainXml(encrypted.uuid, never)
    const expected: MemEncryption = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' }
    expect(encryptionFlaw(live, expected)).toBeUndefined()
    const root = parseXml(await driver.domainXml(clear.uuid, never), 'domain', 'the domain')
    expect([textOf(child(root, 'uuid')), attribute(root, 'type')]).toEqual([clear.uuid, 'kvm'])
    expect(child(root, 'launchSecurity')).toBeUndefined()
    await driver.close()
  })

  it('does each step again without harm', async () => {
    const driver = await (await machine({ sevSlots: 1 })).open()
    const instance = anInstance({ model: 'amd-sev' })
    const domain = await domainFor(driver, instance)
    await driver.createDisks(domain, diskContents(instance, domain), never)
    await driver.spawn(domain, never)

    await driver.createDisks(domain, diskContents(instance, domain), never)
    await driver.spawn(domain, never)
    expect(await driver.guests(never)).toEqual([{ uuid: domain.uuid, state: 'running' }])

    await remove(driver, domain.uuid)
    await remove(driver, domain.uuid)
    expect(await driver.guests(never)).toEqual([])
    await driver.close()
  })

  it('does not take over a guest that runs with another definition', async () => {
    const driver = await (await machine({ sevSlots: 1 })).open()
    const domain = await boot(driver)

    await expect(driver.spawn({ ...domain, memoryMib: 4096 }, never)).rejects.toThrow(withCode('SPAWN_FAILED'))
    await driver.close()
  })

  it('says GUEST_NOT_FOUND for the document of a guest that it does not have', async () => {
    const driver = await (await machine({ sevSlots: 0 })).open()

    await expect(driver.domainXml(anInstance().uuid, never)).rejects.toThrow(withCode('GUEST_NOT_FOUND'))
    await driver.close()
  })

  it('runs no more encrypted guests than it has keys, and gives a key back with its guest', async () => {
    const driver = await (await machine({ sevSlots: 2 })).open()
    const first = await boot(driver, { model: 'amd-sev' })
    await boot(driver, { model: 'amd-sev' })

    await expect(boot(driver, { model: 'amd-sev' })).rejects.toThrow(withCode('ENCRYPTION_SLOTS_EXHAUSTED'))
    await boot(driver)
    await remove(driver, first.uuid)
    await boot(driver, { model: 'amd-sev' })
    await driver.close()
  })

  it('counts the keys in use as the kernel does, whoever uses them', async () => {
    const driver = await (await machine({ sevSlots: 2 })).open()
    await boot(driver)
    const encrypted = await boot(driver, { model: 'amd-sev' })

    const during = await driver.encryptionKeys(never)
    await remove(driver, encrypted.uuid)

    expect(during?.sev).toEqual({ current: 1, capacity: 2 })
    expect((await driver.encryptionKeys(never))?.sev).toEqual({ current: 0, capacity: 2 })
    await driver.close()
  })

  it('runs no more encrypted guests than it has keys when all start at once', async () => {
    const driver = await (await machine({ sevSlots: 3, spawnDelayMs: 5 })).open()

    const boots = await Promise.allSettled(Array.from({ length: 8 }, () => boot(driver, { model: 'amd-sev' })))

    expect(boots.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
    const running = (await driver.guests(never)).filter(({ state }) => state === 'running')
    expect(running).toHaveLength(3)
    await driver.close()
  })

  it('refuses launch security that the host does not have, whoever asks', async () => {
    const driver = await (await machine({ sevSlots: 2 })).open()
    const instance = anInstance({ model: 'amd-sev-es' })
    const domain = buildDomain(guestSpec(instance), aCapableHost())
    await driver.createDisks(domain, diskContents(instance, domain), never)

    await expect(driver.spawn(domain, never)).rejects.toThrow(withCode('HOST_CAPABILITY_MISSING'))
    await remove(driver, domain.uuid)
    expect(await driver.guests(never)).toEqual([])
    await driver.close()
  })

  it('does not start a guest whose disks were not made', async () => {
    const driver = await (await machine({ sevSlots: 0 })).open()

    await expect(driver.spawn(await domainFor(driver, anInstance()), never)).rejects.toThrow(withCode('SPAWN_FAILED'))
    await driver.close()
  })

  it('gives up a start when told to, with the reason, and leaves nothing that destroy does not remove', async () => {
    const driver = await (await machine({ sevSlots: 1, spawnDelayMs: 60_000 })).open()
    const instance = anInstance({ model: 'amd-sev' })
    const domain = await domainFor(driver, instance)
    await driver.createDisks(domain, diskContents(instance, domain), never)
    const giveUp = new AbortController()
    const reason = new Error('enough')

    const spawning = driver.spawn(domain, giveUp.signal)
    giveUp.abort(reason)

    await expect(spawning).rejects.toBe(reason)
    await remove(driver, domain.uuid)
    expect(await driver.guests(never)).toEqual([])
    await driver.close()
  })

  it('keeps its guests when the worker goes and comes back', async () => {
    const host = await machine({ sevSlots: 1 })
    const before = await host.open()
    const domain = await boot(before, { model: 'amd-sev' })
    const xml = await before.domainXml(domain.uuid, never)
    await before.close()

    const after = await host.open()

    expect(await after.guests(never)).toEqual([{ uuid: domain.uuid, state: 'running' }])
    expect(await after.domainXml(domain.uuid, never)).toBe(xml)
    await expect(boot(after, { model: 'amd-sev' })).rejects.toThrow(withCode('ENCRYPTION_SLOTS_EXHAUSTED'))
    await after.close()
  })
})
