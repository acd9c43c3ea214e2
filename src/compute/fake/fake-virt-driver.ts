import { on } from 'node:events'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  DiskCreationFailed,
  GuestNotFound,
  InvalidSharedStorage,
  LibvirtError,
  MigrationError,
  SpawnFailed,
} from '../../errors.ts'
import { type FolderLock, lockFolder } from '../../folder-lock.ts'
import type { EncryptionKeys } from '../../objects/guest-report.ts'
import type { MigrationOrder } from '../../objects/instance-action.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../objects/live-migrate-data.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { abortable } from '../../rpc/abortable.ts'
import type { DiskContents } from '../disks/disk-contents.ts'
import type { ImagePlaces } from '../images/image-places.ts'
import type { StoredImage } from '../images/image-source.ts'
import { type DiskSpec, type DomainSpec, RESCUE_DISK } from '../libvirt/domain-spec.ts'
import { domainXml } from '../libvirt/domain-xml.ts'
import type { HostCapabilities } from '../libvirt/host-capabilities.ts'
import { pluggedXmls } from '../libvirt/hot-plug.ts'
import { hasScsiController, isPlugged, type PluggedDevice } from '../libvirt/plugged-device.ts'
import { SerialPorts } from '../serial-ports.ts'
import type { DiskFolder, Guest, GuestChange, GuestLaunch, HostResources, VirtDriver } from '../virt-driver.ts'
import { type Definition, readDefinition } from './definition.ts'
import { capabilitiesOf } from './fake-capabilities.ts'
import { type FakeHostFacts, type FakeHostOptions, withDefaults } from './fake-host-options.ts'
import { FakeImages } from './fake-images.ts'
import { countedKeys, type KeyHolders, refuseWithoutKey } from './fake-keys.ts'
import { qemuRefuses, receivedGuest, sendGuest } from './guest-mail.ts'
import { GuestStore, type StoredGuest } from './guest-store.ts'
import { withoutDevice } from './without-device.ts'

/** Opens a simulated SEV host whose guests live in `folder`. @throws AlreadyInUse, InvalidFile */
export async function openFakeHost(
  options: FakeHostOptions & { readonly folder: string },
  images: ImagePlaces = { imageFolder: undefined, imageUrl: undefined },
): Promise<FakeVirtDriver> {
  const facts = withDefaults(options)
  const lock = await lockFolder(options.folder, {
    what: 'the simulated host',
    fix: 'give this one a state folder of its own',
  })
  try {
    return new FakeVirtDriver(await GuestStore.open(options.folder), lock, facts, new FakeImages(images))
  } catch (error) {
    lock.release()
    throw error
  }
}

/**
 * A SEV host without hardware: takes the same documents as libvirt and tells the same about itself, so that the code
 * above it is the code that runs on EPYC. Defines, starts and stops guests that do nothing.
 */
export class FakeVirtDriver implements VirtDriver {
  readonly description = 'simulated host'
  readonly hypervisorType = 'fake'
  readonly #store: GuestStore
  readonly #lock: FolderLock
  #facts: FakeHostFacts
  #capabilities: HostCapabilities
  /** Guests whose QEMU starts now: their key is taken already. */
  readonly #starting = new Map<string, MemEncryptionModel | undefined>()
  /** Guests that may come from other hosts: their disks are here, and they are not. */
  readonly #expected: Set<string>
  /** Guests whose root disk is kept. */
  readonly #copies = new Set<string>()
  readonly #images: FakeImages
  #spawnsToFail: number
  /** Nothing of it listens: every port is free. */
  readonly #serialPorts = new SerialPorts(
    (signal) => this.#definedGuests(signal),
    async () => true,
  )
  readonly #waking = new Set<() => void>()
  /** Guests that are on their way to another host, and how that can be ended. */
  readonly #going = new Map<string, (how: MigrationOrder) => void>()
  /** Guests that were asked to shut down and will. */
  readonly #shuttingDown = new Set<NodeJS.Timeout>()

  constructor(store: GuestStore, lock: FolderLock, facts: FakeHostFacts, images: FakeImages) {
    this.#images = images
    this.#store = store
    this.#expected = new Set([...store.disks.keys()].filter((uuid) => !store.guests.has(uuid)))
    this.#lock = lock
    this.#facts = facts
    this.#capabilities = capabilitiesOf(facts)
    this.#spawnsToFail = typeof facts.fail_spawn === 'number' ? facts.fail_spawn : 0
  }

  /** Changes the machine under the worker: another BIOS setting, another kernel parameter, a new fault. */
  reconfigure(changes: FakeHostOptions): void {
    this.#facts = { ...this.#facts, ...changes }
    this.#capabilities = capabilitiesOf(this.#facts)
    if (typeof changes.fail_spawn === 'number') this.#spawnsToFail = changes.fail_spawn
    if (this.#facts.hangs) return
    for (const wake of this.#waking) wake()
    this.#waking.clear()
  }

  /** At once, or when it does not hang any more. */
  async #answers(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.#facts.hangs) await abortable(new Promise<void>((resolve) => this.#waking.add(resolve)), signal)
  }

  async capabilities(signal: AbortSignal): Promise<HostCapabilities> {
    await this.#answers(signal)
    return this.#capabilities
  }

  async resources(signal: AbortSignal): Promise<HostResources> {
    await this.#answers(signal)
    const { vcpus, memory_mb, disk_gb } = this.#facts
    return { vcpus, memory_mb, disk_gb }
  }

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    await this.#answers(signal)
    await this.#letIn()
    return [...this.#store.guests].map(([uuid, { state }]) => ({ uuid, state }))
  }

  async guest(uuid: string, signal: AbortSignal): Promise<Guest | undefined> {
    await this.#answers(signal)
    await this.#letIn()
    const guest = this.#store.guests.get(uuid)
    return guest && { uuid, state: guest.state }
  }

  async *changes(signal: AbortSignal): AsyncGenerator<GuestChange> {
    if (signal.aborted) return
    const changed = on(this.#store.events, 'changed', { signal })
    yield { resync: 'the listener is new' }
    try {
      for await (const [uuid] of changed) yield { uuid }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined> {
    signal.throwIfAborted()
    return countedKeys(this.#facts, this.#keyHolders())
  }

  async domainXml(uuid: string, signal: AbortSignal): Promise<string> {
    await this.#answers(signal)
    const guest = this.#store.guests.get(uuid)
    if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
    return guest.live ?? guest.definition
  }

  /** Its guests do nothing, and so say nothing. */
  async consoleLog(uuid: string, _maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    await this.domainXml(uuid, signal)
    return Buffer.alloc(0)
  }

  async launch(uuid: string, signal: AbortSignal): Promise<GuestLaunch> {
    await this.#answers(signal)
    const guest = this.#store.guests.get(uuid)
    if (guest?.state !== 'running') return { isEncrypted: false, why: 'domain is not running' }
    if (guest.model === undefined || this.#facts.launches_in_clear)
      return { isEncrypted: false, why: 'SEV launch measurement is not available' }
    return { isEncrypted: true, policy: MEM_ENCRYPTION_MODELS[guest.model].policy }
  }

  /** Its guests begin as nothing. */
  async holdImage(_domain: DomainSpec, { image }: DiskContents, signal: AbortSignal): Promise<Disposable> {
    await this.#answers(signal)
    await this.#images.refuseMissing(image, signal)
    return { [Symbol.dispose]() {} }
  }

  /** Its guests read nothing: of the contents only the places count, and that there is such an image. */
  async createDisks(domain: DomainSpec, { image }: DiskContents, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const made = this.#store.disks.get(domain.uuid) ?? []
    const isFromImage = ({ role, file }: DiskSpec) => (role === 'root' || role === 'rescue') && !made.includes(file)
    if (domain.disks.some(isFromImage)) await this.#images.refuseMissing(image, signal)
    const files = domain.disks.map(({ file }) => file)
    this.#store.disks.set(domain.uuid, files)
    await this.#store.save(domain.uuid)
  }

  async removeDisks(uuid: string): Promise<void> {
    if (this.#store.disks.delete(uuid)) await this.#store.save(uuid)
  }

  async diskFolders(signal: AbortSignal): Promise<readonly DiskFolder[]> {
    await this.#answers(signal)
    const suffix = aside('')
    return [...this.#store.disks.keys()].map((folder) => {
      const isAside = folder.endsWith(suffix)
      return { uuid: isAside ? folder.slice(0, -suffix.length) : folder, folder, aside: isAside }
    })
  }

  /** They are names. */
  async diskBytes(): Promise<number> {
    return 0
  }

  async storage(signal: AbortSignal): Promise<string> {
    await this.#answers(signal)
    return this.#facts.storage
  }

  /** By another name in the store. */
  async setDisksAside(uuid: string): Promise<LeftDisks> {
    await this.#rename(uuid, aside(uuid))
    const files = this.#store.disks.get(aside(uuid)) ?? []
    return { folder: aside(uuid), files: files.map((file) => ({ name: basename(file), bytes: 0 })) }
  }

  async bringDisksBack(uuid: string): Promise<void> {
    await this.#rename(aside(uuid), uuid)
  }

  async #rename(from: string, to: string): Promise<void> {
    const files = this.#store.disks.get(from)
    if (files === undefined) return
    this.#store.disks.set(to, files)
    this.#store.disks.delete(from)
    await Promise.all([this.#store.save(to), this.#store.save(from)])
  }

  async removeDisksAside(uuid: string): Promise<void> {
    await this.removeDisks(aside(uuid))
  }

  /** The disks of simulated guests are names: whoever is told them has them. */
  async takeDisks(
    domain: DomainSpec,
    { files }: LeftDisks,
    _contents: DiskContents,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted()
    const root = domain.disks.find(({ role }) => role === 'root')
    if (root === undefined || files.some(({ name }) => name === basename(root.file))) return
    throw new InvalidSharedStorage(`the disks that were left have no ${basename(root.file)}`, {
      instance_uuid: domain.uuid,
    })
  }

  async disksOf(uuid: string): Promise<LeftDisks> {
    const files = this.#store.disks.get(uuid)
    if (files === undefined) throw new GuestNotFound(`this host has no disks of ${uuid}`, { instance_uuid: uuid })
    return { folder: uuid, files: files.map((file) => ({ name: basename(file), bytes: 0 })) }
  }

  async expectGuest(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData> {
    await this.#answers(signal)
    const xml = domainXml(domain)
    const { uuid, diskFiles } = readDefinition(xml, this.#capabilities)
    const lacking = diskFiles.find((file) => !theirs.files.some(({ name }) => name === basename(file)))
    if (lacking !== undefined)
      throw new InvalidSharedStorage(`the disks of the other host have no ${basename(lacking)}`, {
        instance_uuid: uuid,
      })
    this.#store.disks.set(uuid, diskFiles)
    this.#expected.add(uuid)
    await this.#store.save(uuid)
    return { folder: this.#store.folder, definition: uuid, target_connect_addr: null, graphics_listen_addr: null }
  }

  /** What it is, and that it runs, is all that there is of a simulated guest: that goes by a file. */
  async liveMigrate(uuid: string, host: string, { folder }: LiveMigrateData, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const guest = this.#store.guests.get(uuid)
    if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
    if (guest.migrated) return
    if (guest.state !== 'running') throw new MigrationError(`guest ${uuid} is ${guest.state}`, { instance_uuid: uuid })
    if (guest.model !== undefined) throw qemuRefuses(uuid)
    if (this.#facts.holds_migrations) await this.#goOn(uuid, host, signal)
    if (this.#facts.fail_migration)
      throw new MigrationError(`guest ${uuid} has not come to ${host}: simulated fault`, { instance_uuid: uuid })
    // Off before it runs there: a worker that dies in between has none, and no second one.
    await this.#keep(uuid, { definition: guest.definition, state: 'shutoff', migrated: true })
    await sendGuest(folder, uuid, guest.live ?? guest.definition).catch(async (error: Error) => {
      await this.#keep(uuid, guest)
      throw new MigrationError(`guest ${uuid} has not come to ${host}: ${error.message}`, { instance_uuid: uuid })
    })
  }

  /** Until it is forced. Whoever waits no more leaves it under way. */
  async #goOn(uuid: string, host: string, signal: AbortSignal): Promise<void> {
    const ended = new Promise<MigrationOrder>((resolve) => this.#going.set(uuid, resolve))
    const how = await abortable(ended, signal)
    this.#going.delete(uuid)
    if (how === 'abort')
      throw new MigrationError(`guest ${uuid} has not come to ${host}: canceled by client`, { instance_uuid: uuid })
  }

  /** Is it on its way, as far as one can see? */
  isGoing(uuid: string): boolean {
    return this.#going.has(uuid)
  }

  async abortLiveMigration(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    this.#going.get(uuid)?.('abort')
    this.#going.delete(uuid)
  }

  async completeLiveMigration(uuid: string, signal: AbortSignal): Promise<boolean> {
    await this.#answers(signal)
    const end = this.#going.get(uuid)
    end?.('force_complete')
    return end !== undefined
  }

  async welcomeGuest(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const { uuid } = domain
    const definition = domainXml(await this.#serialPorts.place(domain, signal))
    readDefinition(definition, this.#capabilities)
    const is = (await this.guest(uuid, signal))?.state
    const guest = this.#store.guests.get(uuid)
    if (guest === undefined || is !== 'running')
      throw new MigrationError(`guest ${uuid} does not run here: it has not come`, { instance_uuid: uuid })
    await this.#keep(uuid, { ...guest, definition })
  }

  async #letIn(): Promise<void> {
    for (const uuid of this.#expected) {
      const live = await receivedGuest(this.#store.folder, uuid)
      if (live === undefined) continue
      this.#expected.delete(uuid)
      if (this.#store.disks.has(uuid)) await this.#keep(uuid, { definition: live, state: 'running', live })
    }
  }

  async define(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const xml = domainXml(await this.#serialPorts.place(domain, signal))
    const { uuid } = readDefinition(xml, this.#capabilities)
    this.#store.guests.set(uuid, { definition: xml, state: 'shutoff' })
    await this.#store.save(uuid)
  }

  /** Made here, by id. */
  get images(): ReadonlyMap<string, StoredImage> {
    return this.#images.made
  }

  /** The folders of guests whose disks are there: to see that nothing was left behind. */
  disks(): readonly string[] {
    return [...this.#store.disks.keys()]
  }

  async spawn(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const xml = domainXml(await this.#serialPorts.place(domain, signal))
    const definition = readDefinition(xml, this.#capabilities)
    const existing = this.#store.guests.get(definition.uuid)
    if (existing?.state === 'running' && existing.definition === xml) return
    if (existing?.state === 'running')
      throw new SpawnFailed(`guest ${domain.uuid} runs already, with another definition`)
    this.#store.guests.set(definition.uuid, { definition: xml, state: 'shutoff' })
    await this.#store.save(definition.uuid)
    await this.#start(xml, definition, signal)
  }

  /** Stays defined when it cannot start, as with libvirt; `destroy` forgets it. */
  async #start(xml: string, definition: Definition, signal: AbortSignal): Promise<void> {
    this.#refuseWithoutDisks(definition)
    refuseWithoutKey(definition.model, this.#facts, this.#keyHolders())
    const { uuid, model } = definition
    this.#starting.set(uuid, model)
    try {
      await this.#qemuStarts(signal)
      this.#refuseByFault(uuid)
      const live = this.#facts.starts_in_clear ? xml.replace(/<launchSecurity[\s\S]*<\/launchSecurity>/, '') : xml
      this.#store.guests.set(uuid, { definition: xml, state: 'running', live, ...(model && { model }) })
    } finally {
      this.#starting.delete(uuid)
    }
    await this.#store.save(uuid)
  }

  async #qemuStarts(signal: AbortSignal): Promise<void> {
    const { spawn_delay_ms: delayMs } = this.#facts
    // The timer's own error hides who gave up; the signal's reason says it.
    if (delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted())
  }

  #refuseByFault(uuid: string): void {
    const { fail_spawn } = this.#facts
    if (typeof fail_spawn === 'function') {
      const fault = fail_spawn(uuid)
      if (fault) throw fault
    } else if (this.#spawnsToFail > 0) {
      this.#spawnsToFail--
      throw new SpawnFailed('internal error: process exited while connecting to monitor (simulated fault)', {
        instance_uuid: uuid,
      })
    }
  }

  #refuseWithoutDisks({ uuid, diskFiles }: Definition): void {
    const made = this.#store.disks.get(uuid) ?? []
    const lacking = diskFiles.find((file) => !made.includes(file))
    if (lacking !== undefined)
      throw new SpawnFailed(`Cannot access storage file '${lacking}': No such file or directory`)
  }

  /** Guests that run or start. */
  #keyHolders(): KeyHolders {
    const running = [...this.#store.guests.values()].filter(({ state }) => state !== 'shutoff')
    return [...running.map(({ model }) => model), ...this.#starting.values()]
  }

  /** Its guests follow at once, or after a while, or never. */
  async shutdown(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const { shutdown_delay_ms: delayMs } = this.#facts
    if (delayMs === Number.POSITIVE_INFINITY) return
    const asked = this.#store.guests.get(uuid)
    const follow = async () => {
      if (this.#store.guests.get(uuid) === asked && asked?.state === 'running') await this.powerOff(uuid)
    }
    if (delayMs === 0) return await follow()
    const timer = setTimeout(() => {
      this.#shuttingDown.delete(timer)
      follow().catch(() => {})
    }, delayMs)
    this.#shuttingDown.add(timer)
  }

  async powerOff(uuid: string): Promise<void> {
    const guest = this.#store.guests.get(uuid)
    if (guest === undefined || guest.state === 'shutoff') return
    this.#store.guests.set(uuid, { definition: guest.definition, state: 'shutoff' })
    await this.#store.save(uuid)
  }

  async pause(uuid: string): Promise<void> {
    await this.#turn(uuid, 'running', 'paused')
  }

  async unpause(uuid: string): Promise<void> {
    await this.#turn(uuid, 'paused', 'running')
  }

  async #turn(uuid: string, from: StoredGuest['state'], to: StoredGuest['state']): Promise<void> {
    const guest = this.#store.guests.get(uuid)
    if (guest?.state !== from) throw invalidOperation(`domain is not ${from}`)
    this.#store.guests.set(uuid, { ...guest, state: to })
    await this.#store.save(uuid)
  }

  async suspend(uuid: string): Promise<void> {
    const guest = this.#store.guests.get(uuid)
    if (guest === undefined || guest.state === 'shutoff') throw invalidOperation('domain is not running')
    if (guest.model !== undefined) throw invalidOperation('cannot migrate domain: SEV: Migration is not implemented')
    this.#store.guests.set(uuid, { definition: guest.definition, state: 'shutoff', saved: true })
    await this.#store.save(uuid)
  }

  /** As somebody at the host does it: with the document that the guest has. */
  async startDefined(uuid: string, signal: AbortSignal): Promise<void> {
    const guest = this.#store.guests.get(uuid)
    if (guest?.state !== 'shutoff') throw invalidOperation('domain is not shutoff')
    await this.#start(guest.definition, readDefinition(guest.definition, this.#capabilities), signal)
  }

  async hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean> {
    await this.#answers(signal)
    return this.#store.guests.get(uuid)?.saved === true
  }

  async resume(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const guest = this.#store.guests.get(uuid)
    if (guest?.saved !== true) throw invalidOperation('domain has no managed save image')
    await this.#start(guest.definition, readDefinition(guest.definition, this.#capabilities), signal)
  }

  async copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    this.#copies.add(uuid)
  }

  async storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    await this.#answers(signal)
    if (!this.#copies.has(uuid)) throw new DiskCreationFailed(`nothing is kept of ${uuid}`, { instance_uuid: uuid })
    return await this.#images.add(image)
  }

  async removeImage(uuid: string, imageId: string): Promise<void> {
    await this.#images.remove(uuid, imageId)
  }

  async removeRescueDisk(uuid: string): Promise<void> {
    const files = this.#store.disks.get(uuid)
    if (files === undefined) return
    const kept = files.filter((file) => !file.endsWith(`/${RESCUE_DISK}`))
    this.#store.disks.set(uuid, kept)
    await this.#store.save(uuid)
  }

  async removeCopy(uuid: string): Promise<void> {
    this.#copies.delete(uuid)
  }

  async attach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const { uuid } = domain
    const { guest, definition } = this.#redefined(await this.#serialPorts.place(domain, signal))
    const { live } = guest
    if (live === undefined || isPlugged(live, device)) return await this.#keep(uuid, { ...guest, definition })
    const running = { uuid, isEncrypted: guest.model !== undefined, hasScsiController: hasScsiController(live) }
    const devices = pluggedXmls(device, running).join('\n')
    await this.#keep(uuid, { ...guest, definition, live: live.replace('</devices>', `${devices}</devices>`) })
  }

  /** Its guests let go at once, or never. */
  async detach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await this.#answers(signal)
    const { guest, definition } = this.#redefined(await this.#serialPorts.place(domain, signal))
    const live = guest.live && !this.#facts.holds_devices ? withoutDevice(guest.live, device) : guest.live
    await this.#keep(domain.uuid, { ...guest, definition, ...(live !== undefined && { live }) })
  }

  #redefined(domain: DomainSpec) {
    const guest = this.#store.guests.get(domain.uuid)
    if (guest === undefined)
      throw new GuestNotFound(`this host has no guest ${domain.uuid}`, { instance_uuid: domain.uuid })
    const definition = domainXml(domain)
    readDefinition(definition, this.#capabilities)
    return { guest, definition }
  }

  async #keep(uuid: string, guest: StoredGuest): Promise<void> {
    this.#store.guests.set(uuid, guest)
    await this.#store.save(uuid)
  }

  async destroy(uuid: string): Promise<void> {
    if (this.#expected.delete(uuid)) await receivedGuest(this.#store.folder, uuid)
    if (this.#store.guests.delete(uuid)) await this.#store.save(uuid)
    this.#serialPorts.release(uuid)
  }

  async *#definedGuests(signal: AbortSignal) {
    await this.#answers(signal)
    for (const [uuid, { definition, live }] of this.#store.guests) yield { uuid, xml: live ?? definition }
  }

  async close(): Promise<void> {
    for (const timer of this.#shuttingDown) clearTimeout(timer)
    await this.#store.close()
    this.#lock.release()
  }
}

/** Nova's name of the folder of a guest that is being resized. */
function aside(uuid: string): string {
  return `${uuid}_resize`
}

/** VIR_ERR_OPERATION_INVALID, in libvirt's words. */
function invalidOperation(why: string): LibvirtError {
  return new LibvirtError(`Requested operation is not valid: ${why}`, { libvirt_code: 55 })
}
