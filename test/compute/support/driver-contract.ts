import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../../src/compute/disks/disk-contents.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import type { DiskSpec, DomainSpec, InterfaceSpec, NetworkSource } from '../../../src/compute/libvirt/domain-spec.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'
import { domainIdOf } from '../../../src/compute/libvirt/parse-domain.ts'
import { attribute, child, children, parseXml, textOf } from '../../../src/compute/libvirt/parse-xml.ts'
import { isPlugged, isRescued } from '../../../src/compute/libvirt/plugged-device.ts'
import { encryptionFlaw } from '../../../src/compute/libvirt/verify-encryption.ts'
import type { VirtDriver } from '../../../src/compute/virt-driver.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { type MemEncryption, MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from './hosts.ts'
import { anInstance, type InstanceChanges } from './instances.ts'

export interface Machine {
  /** What its operator decided about guests. */
  readonly options?: Partial<DomainOptions>
  /** What its guests are like, where they cannot be as usual. */
  readonly guests?: InstanceChanges
  /** Makes a volume that its operator gives away. @returns its path */
  volume(): Promise<string>
  /** Real hardware: it has as many keys as it has, whatever a test would like. */
  readonly sevSlots?: number
  /** Where its operator lets interfaces be attached. */
  readonly network: NetworkSource
  /** Opens the hypervisor as a worker does; again after `close`, as after a restart. */
  open(): Promise<VirtDriver>
}

export interface Kind {
  readonly name: string
  /** Whether machines have the number of keys that a test asks for; absent: they have. Else it lists the tests that are left out. */
  readonly canChooseKeys?: (test: string) => boolean
  /** A machine of its own for this test: SEV guests up to `sevSlots`, nothing else encrypted. */
  machine(options: { readonly sevSlots: number; readonly spawnDelayMs?: number }): Promise<Machine>
}

const never = new AbortController().signal
// Many boots at once listen to it.
setMaxListeners(0, never)

/** A machine whose hypervisor is open. */
class Host {
  readonly #machine: Machine
  readonly driver: VirtDriver

  private constructor(machine: Machine, driver: VirtDriver) {
    this.#machine = machine
    this.driver = driver
  }

  static async open(machine: Machine | Promise<Machine>): Promise<Host> {
    const opened = await machine
    return new Host(opened, await opened.open())
  }

  /** As after a restart of the worker. */
  async reopen(): Promise<Host> {
    await this.driver.close()
    return await Host.open(this.#machine)
  }

  instance(changes: InstanceChanges = {}): Instance {
    const { guests } = this.#machine
    return anInstance({ ...guests, ...changes, flavor: { ...guests?.flavor, ...changes.flavor } })
  }

  async domain(instance: Instance, capabilities?: HostCapabilities, changes: object = {}): Promise<DomainSpec> {
    const options = { ...DEFAULT_DOMAIN_OPTIONS, ...this.#machine.options }
    return buildDomain(
      { ...guestSpec(instance, options), ...changes },
      capabilities ?? (await this.driver.capabilities(never)),
    )
  }

  async boot(changes: InstanceChanges = {}): Promise<DomainSpec> {
    const instance = this.instance(changes)
    const domain = await this.domain(instance)
    await this.driver.createDisks(domain, diskContents(instance, domain), never)
    await this.driver.spawn(domain, never)
    return domain
  }

  async remove(uuid: string): Promise<void> {
    await this.driver.destroy(uuid)
    await this.driver.removeDisks(uuid)
  }
}

/** A guest that runs, and what it is to be with a volume, and with an interface besides. */
async function grown(host: Host, { volume, network }: Machine, changes: InstanceChanges) {
  const instance = { ...host.instance(changes), ip_addresses: [] }
  const domain = await host.domain(instance)
  await host.driver.createDisks(domain, diskContents(instance, domain), never)
  await host.driver.spawn(domain, never)
  const bus = instance.mem_encryption === null ? 'virtio' : 'scsi'
  const volumes = [{ volume_id: randomUUID(), path: await volume(), bus, device: '' } as const]
  const withVolume = await host.domain({ ...instance, volumes })
  const interfaces = [{ mac: 'fa:16:3e:00:00:77', source: network, ip_address: null }]
  const withBoth = await host.domain({ ...instance, volumes, interfaces })
  const disk = withVolume.disks.at(-1) as DiskSpec
  const plugged = withBoth.interfaces.at(-1) as InterfaceSpec
  return {
    before: domain,
    withVolume: { domain: withVolume, device: { kind: 'disk', disk } },
    withBoth: { domain: withBoth, device: { kind: 'interface', interface: plugged } },
  } as const
}

const withoutVolume = (domain: DomainSpec): DomainSpec => ({
  ...domain,
  disks: domain.disks.filter(({ role }) => role !== 'volume'),
})

const withCode = (code: string) => expect.objectContaining({ code })

/** What every driver keeps. */
export function driverContract({ name, machine, canChooseKeys = () => true }: Kind): void {
  const itWithChosenKeys = (test: string, body: () => Promise<void>) => {
    if (canChooseKeys(test)) it(test, body)
  }

  describe(`driver contract: ${name}`, () => {
    it('tells what the host offers, and why it does not offer the rest', async () => {
      const opened = await machine({ sevSlots: 3 })
      const { driver } = await Host.open(opened)

      const capabilities = await driver.capabilities(never)
      const resources = await driver.resources(never)

      const slots = { 'amd-sev': opened.sevSlots ?? 3 }
      expect(capabilities).toMatchObject({ arch: 'x86_64', supportsUefi: true, slots })
      expect(capabilities.machineTypes).toEqual(expect.arrayContaining(['q35', 'pc']))
      for (const model of MemEncryptionModel.options) {
        const told = capabilities.slots[model] === undefined ? capabilities.missing[model] : 'offered'
        expect(told).toEqual(expect.any(String))
      }
      expect(Object.values(resources).every((amount) => amount > 0)).toBe(true)
      await driver.close()
    })

    it('tells that something has happened to a guest, whoever did it, until nobody listens', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const listening = new AbortController()
      const heard = new Set<string>()
      const listened = (async () => {
        for await (const change of host.driver.changes(listening.signal)) {
          heard.add('uuid' in change ? change.uuid : 'resync')
        }
      })()
      await vi.waitFor(() => expect(heard).toContain('resync'), { timeout: 30_000 })

      const { uuid } = await host.boot()
      await vi.waitFor(() => expect(heard).toContain(uuid), { timeout: 30_000 })
      heard.clear()
      await host.driver.powerOff(uuid)

      await vi.waitFor(() => expect(heard).toContain(uuid), { timeout: 30_000 })
      listening.abort()
      await listened
      await host.remove(uuid)
      await host.driver.close()
    })

    it('runs a guest in clear and an encrypted one, and shows their documents', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host

      const clear = await host.boot({ properties: { hw_machine_type: 'pc', hw_firmware_type: 'bios' } })
      const encrypted = await host.boot({ model: 'amd-sev' })

      expect(await driver.guests(never)).toEqual(
        expect.arrayContaining([
          { uuid: clear.uuid, state: 'running' },
          { uuid: encrypted.uuid, state: 'running' },
        ]),
      )
      const live = await driver.domainXml(encrypted.uuid, never)
      const expected: MemEncryption = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' }
      expect(encryptionFlaw(live, await driver.launch(encrypted.uuid, never), expected)).toBeUndefined()
      expect(await driver.launch(clear.uuid, never)).toMatchObject({ isEncrypted: false })
      const root = parseXml(await driver.domainXml(clear.uuid, never), 'domain', 'the domain')
      expect([textOf(child(root, 'uuid')), attribute(root, 'type')]).toEqual([clear.uuid, 'kvm'])
      expect(child(root, 'launchSecurity')).toBeUndefined()
      await driver.close()
    })

    it('does each step again without harm', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const instance = host.instance({ model: 'amd-sev' })
      const domain = await host.domain(instance)
      await driver.createDisks(domain, diskContents(instance, domain), never)
      await driver.spawn(domain, never)

      await driver.createDisks(domain, diskContents(instance, domain), never)
      await driver.spawn(domain, never)
      expect(await driver.guests(never)).toEqual([{ uuid: domain.uuid, state: 'running' }])

      await host.remove(domain.uuid)
      await host.remove(domain.uuid)
      expect(await driver.guests(never)).toEqual([])
      await driver.close()
    })

    it('counts the starts of a guest, so that whoever has seen one of them knows of another', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const domain = await host.boot({ model: 'amd-sev' })
      const { uuid } = domain

      const first = await host.driver.domainId(uuid, never)
      const inDocument = domainIdOf(await host.driver.domainXml(uuid, never))
      const again = await host.reopen()
      const later = await again.driver.domainId(uuid, never)
      await again.driver.powerOff(uuid)
      const off = await again.driver.domainId(uuid, never)
      await again.driver.spawn(domain, never)
      const second = await again.driver.domainId(uuid, never)

      expect(first).toEqual(expect.any(Number))
      expect([inDocument, later, off]).toEqual([first, first, undefined])
      expect(second).not.toBe(first)
      expect(second).toEqual(expect.any(Number))
      await again.remove(uuid)
      expect(await again.driver.domainId(uuid, never)).toBeUndefined()
      await again.driver.close()
    })

    it('does not take over a guest that runs with another definition', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const domain = await host.boot()

      await expect(driver.spawn({ ...domain, memoryMib: 4096 }, never)).rejects.toThrow(withCode('SPAWN_FAILED'))
      await driver.close()
    })

    it('says GUEST_NOT_FOUND for the document of a guest that it does not have', async () => {
      const host = await Host.open(machine({ sevSlots: 0 }))
      const { driver } = host

      await expect(driver.domainXml(anInstance().uuid, never)).rejects.toThrow(withCode('GUEST_NOT_FOUND'))
      await driver.close()
    })

    itWithChosenKeys(
      'runs no more encrypted guests than it has keys, and gives a key back with its guest',
      async () => {
        const host = await Host.open(machine({ sevSlots: 2 }))
        const { driver } = host
        const first = await host.boot({ model: 'amd-sev' })
        await host.boot({ model: 'amd-sev' })

        await expect(host.boot({ model: 'amd-sev' })).rejects.toThrow(withCode('ENCRYPTION_SLOTS_EXHAUSTED'))
        await host.boot()
        await host.remove(first.uuid)
        await host.boot({ model: 'amd-sev' })
        await driver.close()
      },
    )

    it('counts the keys in use as the kernel does, whoever uses them', async () => {
      const opened = await machine({ sevSlots: 2 })
      const host = await Host.open(opened)
      const { driver } = host
      await host.boot()
      const encrypted = await host.boot({ model: 'amd-sev' })

      const during = await driver.encryptionKeys(never)
      await host.remove(encrypted.uuid)

      const capacity = opened.sevSlots ?? 2
      expect(during?.sev).toEqual({ current: 1, capacity })
      expect((await driver.encryptionKeys(never))?.sev).toEqual({ current: 0, capacity })
      await driver.close()
    })

    itWithChosenKeys('runs no more encrypted guests than it has keys when all start at once', async () => {
      const host = await Host.open(machine({ sevSlots: 3, spawnDelayMs: 5 }))
      const { driver } = host

      const boots = await Promise.allSettled(Array.from({ length: 8 }, () => host.boot({ model: 'amd-sev' })))

      expect(boots.filter(({ status }) => status === 'fulfilled')).toHaveLength(3)
      const running = (await driver.guests(never)).filter(({ state }) => state === 'running')
      expect(running).toHaveLength(3)
      await driver.close()
    })

    itWithChosenKeys('refuses launch security that the host does not have, whoever asks', async () => {
      const host = await Host.open(machine({ sevSlots: 2 }))
      const { driver } = host
      const instance = host.instance({ model: 'amd-sev-es' })
      const domain = await host.domain(instance, aCapableHost())
      await driver.createDisks(domain, diskContents(instance, domain), never)

      await expect(driver.spawn(domain, never)).rejects.toThrow(withCode('HOST_CAPABILITY_MISSING'))
      await host.remove(domain.uuid)
      expect(await driver.guests(never)).toEqual([])
      await driver.close()
    })

    it('does not start a guest whose disks were not made', async () => {
      const host = await Host.open(machine({ sevSlots: 0 }))
      const { driver } = host

      await expect(driver.spawn(await host.domain(host.instance()), never)).rejects.toThrow(withCode('SPAWN_FAILED'))
      await driver.close()
    })

    it('does not start a guest before its disks are made, which it need not wait for otherwise', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const instance = host.instance({ model: 'amd-sev' })
      const domain = await host.domain(instance)
      let saidSo = () => {}
      const disksMade = new Promise<void>((resolve) => {
        saidSo = resolve
      })

      const spawning = driver.spawn(domain, never, disksMade)
      await driver.createDisks(domain, diskContents(instance, domain), never)
      const meanwhile = await driver.guest(domain.uuid, never)
      saidSo()
      await spawning

      expect(['shutoff', undefined]).toContain(meanwhile?.state)
      expect(await driver.guest(domain.uuid, never)).toEqual({ uuid: domain.uuid, state: 'running' })
      await driver.close()
    })

    it.each([
      ['before it was defined', false],
      ['after', true],
    ])('does not start a guest whose disks cannot be made, as is said %s, and says why', async (_when, isDefined) => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const domain = await host.domain(host.instance({ model: 'amd-sev' }))
      const reason = new Error('the disk is full')
      const state = async () => (await driver.guest(domain.uuid, never))?.state
      const fail = async () => {
        if (isDefined) await vi.waitFor(async () => expect(await state()).toBe('shutoff'), { timeout: 10_000 })
        throw reason
      }

      await expect(driver.spawn(domain, never, fail())).rejects.toBe(reason)

      expect((await driver.guests(never)).filter((guest) => guest.state === 'running')).toEqual([])
      await host.remove(domain.uuid)
      expect(await driver.guests(never)).toEqual([])
      await driver.close()
    })

    it('starts a guest whose definition an earlier worker has left without disks', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const instance = host.instance({ model: 'amd-sev' })
      const domain = await host.domain(instance)
      await expect(host.driver.spawn(domain, never, Promise.reject(new Error('killed')))).rejects.toThrow('killed')

      const { driver } = await host.reopen()
      await driver.createDisks(domain, diskContents(instance, domain), never)
      await driver.spawn(domain, never)

      expect(await driver.guest(domain.uuid, never)).toEqual({ uuid: domain.uuid, state: 'running' })
      await driver.destroy(domain.uuid)
      await driver.removeDisks(domain.uuid)
      await driver.close()
    })

    it('gives up a start when told to, with the reason, and leaves nothing that destroy does not remove', async () => {
      const host = await Host.open(machine({ sevSlots: 1, spawnDelayMs: 60_000 }))
      const { driver } = host
      const instance = host.instance({ model: 'amd-sev' })
      const domain = await host.domain(instance)
      await driver.createDisks(domain, diskContents(instance, domain), never)
      const giveUp = new AbortController()
      const reason = new Error('enough')

      const spawning = driver.spawn(domain, giveUp.signal)
      giveUp.abort(reason)

      await expect(spawning).rejects.toBe(reason)
      await host.remove(domain.uuid)
      expect(await driver.guests(never)).toEqual([])
      await driver.close()
    })

    it('takes the power of a guest and keeps all else; started again it runs encrypted as before', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const domain = await host.boot({ model: 'amd-sev' })

      await driver.powerOff(domain.uuid)
      await driver.powerOff(domain.uuid)
      const off = await driver.guest(domain.uuid, never)
      const keysWhileOff = (await driver.encryptionKeys(never))?.sev.current
      await driver.spawn(domain, never)

      expect([off?.state, keysWhileOff]).toEqual(['shutoff', 0])
      expect(await driver.guest(domain.uuid, never)).toEqual({ uuid: domain.uuid, state: 'running' })
      const expected: MemEncryption = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' }
      expect(
        encryptionFlaw(await driver.domainXml(domain.uuid, never), await driver.launch(domain.uuid, never), expected),
      ).toBeUndefined()
      await driver.close()
    })

    it('has a guest stand still and go on; it keeps its key, and is as it was launched', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const { uuid } = await host.boot({ model: 'amd-sev' })

      await driver.pause(uuid)
      const paused = await driver.guest(uuid, never)
      const launch = await driver.launch(uuid, never)
      const flaw = encryptionFlaw(await driver.domainXml(uuid, never), launch, { model: 'amd-sev', policy: '0x0033' })
      const keys = (await driver.encryptionKeys(never))?.sev.current
      await driver.unpause(uuid)

      expect([paused?.state, flaw, keys]).toEqual(['paused', undefined, 1])
      expect((await driver.guest(uuid, never))?.state).toBe('running')
      await driver.powerOff(uuid)
      await expect(driver.pause(uuid)).rejects.toThrow(withCode('LIBVIRT_ERROR'))
      await driver.close()
    })

    it('makes an image of the root disk of an encrypted guest that stands still, which goes on afterwards', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const { uuid } = await host.boot({ model: 'amd-sev' })
      const image = { ...host.instance().image, id: randomUUID(), properties: { instance_uuid: uuid } }

      await driver.pause(uuid)
      await driver.copyRoot(uuid, never)
      await driver.unpause(uuid)
      const bytes = await driver.storeCopy(uuid, image, never)
      const again = await driver.storeCopy(uuid, image, never)
      await driver.removeCopy(uuid)
      await driver.removeCopy(uuid)

      expect(again).toBe(bytes)
      await driver.removeImage(uuid, image.id)
      await driver.removeImage(uuid, image.id)
      expect((await driver.guest(uuid, never))?.state).toBe('running')
      await driver.close()
    })

    it('boots an encrypted guest from another disk with its own beside that, and from its own again', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const instance = host.instance({ model: 'amd-sev' })
      const domain = await host.domain(instance)
      await driver.createDisks(domain, diskContents(instance, domain), never)
      await driver.spawn(domain, never)
      const { uuid } = domain
      const rescued = await host.domain(instance, undefined, { isRescued: true })

      await driver.createDisks(rescued, diskContents(instance, rescued), never)
      await driver.powerOff(uuid)
      await driver.spawn(rescued, never)
      const during = await driver.domainXml(uuid, never)
      const launch = await driver.launch(uuid, never)
      await driver.powerOff(uuid)
      await driver.spawn(domain, never)
      for (let times = 0; times < 2; times++) await driver.removeRescueDisk(uuid)

      expect([isRescued(during), isRescued(await driver.domainXml(uuid, never))]).toEqual([true, false])
      expect(launch.isEncrypted).toBe(true)
      await driver.close()
    })

    it('saves the memory of a guest in clear, and lets it go on; started anew it has forgotten', async () => {
      const host = await Host.open(machine({ sevSlots: 0 }))
      const { driver } = host
      const domain = await host.boot()
      const { uuid } = domain

      await driver.suspend(uuid)
      const saved = [(await driver.guest(uuid, never))?.state, await driver.hasSavedMemory(uuid, never)]
      await driver.resume(uuid, never)
      const resumed = [(await driver.guest(uuid, never))?.state, await driver.hasSavedMemory(uuid, never)]
      await driver.suspend(uuid)
      await driver.spawn(domain, never)

      expect(saved).toEqual(['shutoff', true])
      expect(resumed).toEqual(['running', false])
      expect((await driver.guest(uuid, never))?.state).toBe('running')
      expect(await driver.hasSavedMemory(uuid, never)).toBe(false)
      await driver.close()
    })

    it('does not save the memory of an encrypted guest, which goes on', async () => {
      const host = await Host.open(machine({ sevSlots: 1 }))
      const { driver } = host
      const { uuid } = await host.boot({ model: 'amd-sev' })

      await expect(driver.suspend(uuid)).rejects.toThrow(withCode('LIBVIRT_ERROR'))

      expect((await driver.guest(uuid, never))?.state).toBe('running')
      expect(await driver.hasSavedMemory(uuid, never)).toBe(false)
      await driver.close()
    })

    it('plugs a volume and an interface into a guest that runs, behind the iommu where that is encrypted, and takes the volume out', async () => {
      const opened = await machine({ sevSlots: 1 })
      const host = await Host.open(opened)
      const { driver } = host
      const { before, withVolume, withBoth } = await grown(host, opened, { model: 'amd-sev' })

      for (let times = 0; times < 2; times++) await driver.attach(withVolume.domain, withVolume.device, never)
      for (let times = 0; times < 2; times++) await driver.attach(withBoth.domain, withBoth.device, never)
      const live = await driver.domainXml(before.uuid, never)
      await driver.detach(withoutVolume(withBoth.domain), withVolume.device, never)
      await driver.detach(withoutVolume(withBoth.domain), withVolume.device, never)

      expect([isPlugged(live, withVolume.device), isPlugged(live, withBoth.device)]).toEqual([true, true])
      const devices = child(parseXml(live, 'domain', 'the domain'), 'devices')
      expect(children(devices, 'interface').map((each) => attribute(child(each, 'driver'), 'iommu'))).toEqual(['on'])
      expect(children(devices, 'disk').map((each) => attribute(child(each, 'target'), 'bus'))).toEqual(['scsi', 'scsi'])
      expect((await driver.guest(before.uuid, never))?.state).toBe('running')
      await vi.waitFor(async () =>
        expect(isPlugged(await driver.domainXml(before.uuid, never), withVolume.device)).toBe(false),
      )
      expect(isPlugged(await driver.domainXml(before.uuid, never), withBoth.device)).toBe(true)
      await driver.close()
    })

    it('plugs into a guest that is off what it starts with, takes it out, and has nothing to plug into where no guest is', async () => {
      const opened = await machine({ sevSlots: 0 })
      const host = await Host.open(opened)
      const { driver } = host
      const { before, withVolume } = await grown(host, opened, {})
      await driver.powerOff(before.uuid)

      await driver.attach(withVolume.domain, withVolume.device, never)
      const off = await driver.domainXml(before.uuid, never)
      await driver.spawn(withVolume.domain, never)
      const on = await driver.domainXml(before.uuid, never)
      await driver.powerOff(before.uuid)
      await driver.detach(before, withVolume.device, never)

      expect([off, on].map((xml) => isPlugged(xml, withVolume.device))).toEqual([true, true])
      expect(isPlugged(await driver.domainXml(before.uuid, never), withVolume.device)).toBe(false)
      await host.remove(before.uuid)
      const { domain, device } = withVolume
      await expect(driver.attach(domain, device, never)).rejects.toThrow(withCode('GUEST_NOT_FOUND'))
      await expect(driver.detach(before, device, never)).rejects.toThrow(withCode('GUEST_NOT_FOUND'))
      await driver.close()
    })

    it('says nothing of a guest that it does not have, and has nothing to do to it', async () => {
      const host = await Host.open(machine({ sevSlots: 0 }))
      const { driver } = host
      const { uuid } = anInstance()

      await driver.powerOff(uuid)
      await driver.shutdown(uuid, never)

      expect(await driver.guest(uuid, never)).toBeUndefined()
      await driver.close()
    })

    it('asks a guest to shut down, which may follow or not, and has nothing to ask of one that is off', async () => {
      const host = await Host.open(machine({ sevSlots: 0 }))
      const { driver } = host
      const { uuid } = await host.boot()

      await driver.shutdown(uuid, never)
      const asked = await driver.guest(uuid, never)
      await driver.powerOff(uuid)
      await driver.shutdown(uuid, never)

      expect(['running', 'shutoff']).toContain(asked?.state)
      expect(await driver.guest(uuid, never)).toEqual({ uuid, state: 'shutoff' })
      await driver.close()
    })

    it('keeps its guests when the worker goes and comes back', async () => {
      const opened = await machine({ sevSlots: 1 })
      const before = await Host.open(opened)
      const domain = await before.boot({ model: 'amd-sev' })
      const xml = await before.driver.domainXml(domain.uuid, never)

      const after = await before.reopen()

      expect(await after.driver.guests(never)).toEqual([{ uuid: domain.uuid, state: 'running' }])
      expect(await after.driver.domainXml(domain.uuid, never)).toBe(xml)
      if (opened.sevSlots === undefined) {
        await expect(after.boot({ model: 'amd-sev' })).rejects.toThrow(withCode('ENCRYPTION_SLOTS_EXHAUSTED'))
      }
      await after.driver.close()
    })
  })
}
