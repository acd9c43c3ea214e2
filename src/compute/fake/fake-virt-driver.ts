import { on } from 'node:events'
import { type FolderLock, lockFolder } from '../../folder-lock.ts'
import type { EncryptionKeys } from '../../objects/guest-report.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../objects/live-migrate-data.ts'
import { MEM_ENCRYPTION_MODELS } from '../../objects/mem-encryption.ts'
import type { DiskContents } from '../disks/disk-contents.ts'
import type { ImagePlaces } from '../images/image-places.ts'
import type { StoredImage } from '../images/image-source.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import type { HostCapabilities } from '../libvirt/host-capabilities.ts'
import type { PluggedDevice } from '../libvirt/plugged-device.ts'
import { SerialPorts } from '../serial-ports.ts'
import type { DiskFolder, Guest, GuestChange, GuestLaunch, HostResources, VirtDriver } from '../virt-driver.ts'
import { FakeDisks } from './fake-disks.ts'
import { type FakeHostFacts, type FakeHostOptions, withDefaults } from './fake-host-options.ts'
import { FakeImages } from './fake-images.ts'
import { countedKeys } from './fake-keys.ts'
import { FakeMachine } from './fake-machine.ts'
import { FakeMigrations } from './fake-migrations.ts'
import { plugIn, takeOut } from './fake-plugging.ts'
import { FakePower } from './fake-power.ts'
import { GuestStore } from './guest-store.ts'

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
  readonly #lock: FolderLock
  readonly #machine: FakeMachine
  readonly #images: FakeImages
  readonly #disks: FakeDisks
  readonly #power: FakePower
  readonly #migrations: FakeMigrations
  /** Nothing of it listens: every port is free. */
  readonly #serialPorts = new SerialPorts(
    (signal) => this.#definedGuests(signal),
    async () => true,
  )

  constructor(store: GuestStore, lock: FolderLock, facts: FakeHostFacts, images: FakeImages) {
    this.#lock = lock
    this.#machine = new FakeMachine(store, facts)
    this.#images = images
    this.#disks = new FakeDisks(store, images)
    this.#power = new FakePower(this.#machine)
    this.#migrations = new FakeMigrations(this.#machine, this.#disks)
  }

  // -- the host -----------------------------------------------------------------------------------------------------

  /** Changes the machine under the worker: another BIOS setting, another kernel parameter, a new fault. */
  reconfigure(changes: FakeHostOptions): void {
    this.#machine.reconfigure(changes)
  }

  async capabilities(signal: AbortSignal): Promise<HostCapabilities> {
    await this.#machine.answers(signal)
    return this.#machine.capabilities
  }

  async resources(signal: AbortSignal): Promise<HostResources> {
    await this.#machine.answers(signal)
    const { vcpus, memory_mb, disk_gb } = this.#machine.facts
    return { vcpus, memory_mb, disk_gb }
  }

  async encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined> {
    signal.throwIfAborted()
    return countedKeys(this.#machine.facts, this.#power.keyHolders())
  }

  // -- questions about guests -----------------------------------------------------------------------------------------

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    await this.#machine.answers(signal)
    await this.#migrations.letIn()
    return [...this.#machine.store.guests].map(([uuid, { state }]) => ({ uuid, state }))
  }

  async guest(uuid: string, signal: AbortSignal): Promise<Guest | undefined> {
    await this.#machine.answers(signal)
    await this.#migrations.letIn()
    const guest = this.#machine.store.guests.get(uuid)
    return guest && { uuid, state: guest.state }
  }

  async domainId(uuid: string, signal: AbortSignal): Promise<number | undefined> {
    await this.#machine.answers(signal)
    const guest = this.#machine.store.guests.get(uuid)
    // One that runs since before they were counted has none that anybody knows.
    return guest?.state === 'shutoff' ? undefined : guest && (guest.domain_id ?? 0)
  }

  async *changes(signal: AbortSignal): AsyncGenerator<GuestChange> {
    if (signal.aborted) return
    const changed = on(this.#machine.store.events, 'changed', { signal })
    yield { resync: 'the listener is new' }
    try {
      for await (const [uuid] of changed) yield { uuid }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }

  async domainXml(uuid: string, signal: AbortSignal): Promise<string> {
    await this.#machine.answers(signal)
    const { live, definition } = this.#machine.guest(uuid)
    return live ?? definition
  }

  /** Its guests do nothing, and so say nothing. */
  async consoleLog(uuid: string, _maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    await this.domainXml(uuid, signal)
    return Buffer.alloc(0)
  }

  async launch(uuid: string, signal: AbortSignal): Promise<GuestLaunch> {
    await this.#machine.answers(signal)
    const guest = this.#machine.store.guests.get(uuid)
    if (guest === undefined || guest.state === 'shutoff') return { isEncrypted: false, why: 'domain is not running' }
    if (guest.model === undefined || this.#machine.facts.launches_in_clear)
      return { isEncrypted: false, why: 'SEV launch measurement is not available' }
    return { isEncrypted: true, policy: MEM_ENCRYPTION_MODELS[guest.model].policy }
  }

  async hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean> {
    await this.#machine.answers(signal)
    return this.#machine.store.guests.get(uuid)?.saved === true
  }

  // -- disks and images -----------------------------------------------------------------------------------------------

  /** Its guests begin as nothing. */
  async holdImage(_domain: DomainSpec, { image }: DiskContents, signal: AbortSignal): Promise<Disposable> {
    await this.#machine.answers(signal)
    await this.#images.refuseMissing(image, signal)
    return { [Symbol.dispose]() {} }
  }

  async createDisks(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<void> {
    await this.#disks.create(domain, contents, signal)
  }

  async removeDisks(uuid: string): Promise<void> {
    await this.#disks.remove(uuid)
  }

  async diskFolders(signal: AbortSignal): Promise<readonly DiskFolder[]> {
    await this.#machine.answers(signal)
    return this.#disks.folders()
  }

  async diskBytes(): Promise<number> {
    return 0
  }

  async storage(signal: AbortSignal): Promise<string> {
    await this.#machine.answers(signal)
    return this.#machine.facts.storage
  }

  async setDisksAside(uuid: string): Promise<LeftDisks> {
    return await this.#disks.setAside(uuid)
  }

  async bringDisksBack(uuid: string): Promise<void> {
    await this.#disks.bringBack(uuid)
  }

  async removeDisksAside(uuid: string): Promise<void> {
    await this.#disks.removeAside(uuid)
  }

  async takeDisks(domain: DomainSpec, left: LeftDisks, _contents: DiskContents, signal: AbortSignal): Promise<void> {
    await this.#disks.take(domain, left, signal)
  }

  async disksOf(uuid: string): Promise<LeftDisks> {
    return await this.#disks.own(uuid)
  }

  async removeRescueDisk(uuid: string): Promise<void> {
    await this.#disks.removeRescueDisk(uuid)
  }

  async copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    this.#disks.copyRoot(uuid)
  }

  async storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    await this.#machine.answers(signal)
    return await this.#disks.storeCopy(uuid, image)
  }

  async removeCopy(uuid: string): Promise<void> {
    this.#disks.removeCopy(uuid)
  }

  async removeImage(uuid: string, imageId: string): Promise<void> {
    await this.#images.remove(uuid, imageId)
  }

  /** Made here, by id. */
  get images(): ReadonlyMap<string, StoredImage> {
    return this.#images.made
  }

  /** The folders of guests whose disks are there: to see that nothing was left behind. */
  disks(): readonly string[] {
    return [...this.#machine.store.disks.keys()]
  }

  // -- what makes and ends guests -------------------------------------------------------------------------------------

  async define(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await this.#power.define(await this.#serialPorts.place(domain, signal))
  }

  async spawn(domain: DomainSpec, signal: AbortSignal, disksMade?: Promise<void>): Promise<void> {
    // It may be over here before anybody waits for them.
    disksMade?.catch(() => {})
    await this.#machine.answers(signal)
    await this.#power.spawn(await this.#serialPorts.place(domain, signal), signal, disksMade)
  }

  /** As somebody at the host does it. */
  async startDefined(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#power.startDefined(uuid, signal)
  }

  async resume(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await this.#power.resume(uuid, signal)
  }

  async shutdown(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await this.#power.shutdown(uuid)
  }

  async powerOff(uuid: string): Promise<void> {
    await this.#power.powerOff(uuid)
  }

  async pause(uuid: string): Promise<void> {
    await this.#power.turn(uuid, 'running', 'paused')
  }

  async unpause(uuid: string): Promise<void> {
    await this.#power.turn(uuid, 'paused', 'running')
  }

  async suspend(uuid: string): Promise<void> {
    await this.#power.suspend(uuid)
  }

  async attach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await plugIn(this.#machine, await this.#serialPorts.place(domain, signal), device)
  }

  async detach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await takeOut(this.#machine, await this.#serialPorts.place(domain, signal), device)
  }

  async destroy(uuid: string): Promise<void> {
    await this.#migrations.expectNoMore(uuid)
    const { store } = this.#machine
    if (store.guests.delete(uuid)) await store.save(uuid)
    this.#serialPorts.release(uuid)
  }

  // -- live migration -------------------------------------------------------------------------------------------------

  async expectGuest(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData> {
    await this.#machine.answers(signal)
    return await this.#migrations.expect(domain, theirs)
  }

  async liveMigrate(uuid: string, host: string, { folder }: LiveMigrateData, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    await this.#migrations.send(uuid, host, folder, signal)
  }

  /** Is it on its way, as far as one can see? */
  isGoing(uuid: string): boolean {
    return this.#migrations.isGoing(uuid)
  }

  async abortLiveMigration(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#machine.answers(signal)
    this.#migrations.abort(uuid)
  }

  async completeLiveMigration(uuid: string, signal: AbortSignal): Promise<boolean> {
    await this.#machine.answers(signal)
    return this.#migrations.complete(uuid)
  }

  async welcomeGuest(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const placed = await this.#serialPorts.place(domain, signal)
    await this.#machine.answers(signal)
    await this.#migrations.welcome(placed)
  }

  async *#definedGuests(signal: AbortSignal) {
    await this.#machine.answers(signal)
    for (const [uuid, { definition, live }] of this.#machine.store.guests) yield { uuid, xml: live ?? definition }
  }

  async close(): Promise<void> {
    this.#power.close()
    await this.#machine.store.close()
    this.#lock.release()
  }
}
