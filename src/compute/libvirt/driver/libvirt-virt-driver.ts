import type { EncryptionKeys } from '../../../objects/guest-report.ts'
import type { LeftDisks } from '../../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../../objects/live-migrate-data.ts'
import type { DiskContents } from '../../disks/disk-contents.ts'
import type { GuestDisks } from '../../disks/guest-disks.ts'
import type { StoredImage } from '../../images/image-source.ts'
import { SerialPorts } from '../../serial-ports.ts'
import type { DiskFolder, Guest, GuestChange, GuestLaunch, HostResources, VirtDriver } from '../../virt-driver.ts'
import type { DomainSpec } from '../domain-spec.ts'
import type { HostCapabilities } from '../host-capabilities.ts'
import type { PluggedDevice } from '../plugged-device.ts'
import type { Libvirt } from '../rpc/libvirt.ts'
import { VIR_ERR } from '../rpc/remote-error.ts'
import { AskedHost } from './asked-host.ts'
import { guestChanges } from './guest-changes.ts'
import { guestLaunch } from './guest-launch.ts'
import { GuestPower } from './guest-power.ts'
import { guestState } from './guest-state.ts'
import { GuestsThatMove } from './guests-that-move.ts'
import type { HostOptions } from './host-facts.ts'
import { DEFAULT_LIVE_MIGRATION, type LiveMigrationOptions } from './live-migration.ts'
import { OwnDomains } from './own-domains.ts'
import { plugIn, takeOut } from './plugging.ts'
import { unlessRefused } from './unless-refused.ts'

/**
 * Real guests, by libvirt and QEMU: the hall. What is looked up is here; what is done to guests is done by the parts.
 */
export class LibvirtVirtDriver implements VirtDriver {
  readonly description: string
  /** As Nova names it. */
  readonly hypervisorType = 'QEMU'
  readonly #libvirt: Libvirt
  readonly #disks: GuestDisks
  readonly #host: AskedHost
  readonly #domains: OwnDomains
  readonly #serialPorts: SerialPorts
  readonly #power: GuestPower
  readonly #moving: GuestsThatMove

  constructor(
    libvirt: Libvirt,
    disks: GuestDisks,
    options: HostOptions,
    migration: LiveMigrationOptions = DEFAULT_LIVE_MIGRATION,
  ) {
    this.description = libvirt.uri
    this.#libvirt = libvirt
    this.#disks = disks
    this.#host = new AskedHost(libvirt, disks, options)
    const domains = new OwnDomains(libvirt)
    const serialPorts = new SerialPorts((signal) => domains.all(signal))
    this.#domains = domains
    this.#serialPorts = serialPorts
    this.#power = new GuestPower({ libvirt, domains, serialPorts })
    this.#moving = new GuestsThatMove({ libvirt, domains, disks, serialPorts, options: migration })
  }

  capabilities(signal: AbortSignal, maxAgeMs = 0): Promise<HostCapabilities> {
    return this.#host.capabilities(signal, maxAgeMs)
  }

  resources(signal: AbortSignal): Promise<HostResources> {
    return this.#host.resources(signal)
  }

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    const domains = await this.#libvirt.connectGetAllDomainStates({ signal })
    return domains.map(({ uuid, state }) => ({ uuid, state: guestState(state) }))
  }

  async guest(uuid: string, signal: AbortSignal): Promise<Guest | undefined> {
    const found = await unlessRefused(this.#libvirt.domainGetState(uuid, { signal }), VIR_ERR.noDomain)
    // After a post-copy that broke its memory is here in part, and there in part: it can go on nowhere.
    if (found?.reason === 'postcopy_failed') return { uuid, state: 'crashed' }
    return found && { uuid, state: guestState(found.state) }
  }

  async domainId(uuid: string, signal: AbortSignal): Promise<number | undefined> {
    const found = await unlessRefused(this.#libvirt.domainLookupByUuid(uuid, { signal }), VIR_ERR.noDomain)
    return found === undefined || found.id < 0 ? undefined : found.id
  }

  encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined> {
    return this.#host.encryptionKeys(signal)
  }

  domainXml(uuid: string, signal: AbortSignal): Promise<string> {
    return this.#domains.xml(uuid, signal)
  }

  async consoleLog(uuid: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    await this.#domains.xml(uuid, signal)
    return await this.#disks.consoleLog(uuid, maxBytes)
  }

  launch(uuid: string, signal: AbortSignal): Promise<GuestLaunch> {
    return guestLaunch(this.#libvirt.domainGetLaunchSecurityInfo(uuid, { signal }))
  }

  holdImage(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<Disposable> {
    return this.#disks.holdImage(domain, contents, signal)
  }

  createDisks(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<void> {
    return this.#disks.create(domain, contents, signal)
  }

  removeDisks(uuid: string): Promise<void> {
    return this.#disks.remove(uuid)
  }

  async diskFolders(signal: AbortSignal): Promise<readonly DiskFolder[]> {
    signal.throwIfAborted()
    return await this.#disks.folders()
  }

  diskBytes(folder: DiskFolder): Promise<number> {
    return this.#disks.bytesOf(folder)
  }

  async storage(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    return await this.#disks.storage()
  }

  setDisksAside(uuid: string): Promise<LeftDisks> {
    return this.#disks.setAside(uuid)
  }

  bringDisksBack(uuid: string): Promise<void> {
    return this.#disks.bringBack(uuid)
  }

  removeDisksAside(uuid: string): Promise<void> {
    return this.#disks.removeAside(uuid)
  }

  takeDisks(domain: DomainSpec, left: LeftDisks, contents: DiskContents, signal: AbortSignal): Promise<void> {
    return this.#disks.take(domain, left, contents, signal)
  }

  disksOf(uuid: string): Promise<LeftDisks> {
    return this.#moving.disksOf(uuid)
  }

  expectGuest(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData> {
    return this.#moving.expect(domain, theirs, signal)
  }

  liveMigrate(uuid: string, host: string, data: LiveMigrateData, signal: AbortSignal): Promise<void> {
    return this.#moving.send(uuid, host, data, signal)
  }

  abortLiveMigration(uuid: string, signal: AbortSignal): Promise<void> {
    return this.#moving.abort(uuid, signal)
  }

  completeLiveMigration(uuid: string, signal: AbortSignal): Promise<boolean> {
    return this.#moving.complete(uuid, signal)
  }

  welcomeGuest(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    return this.#moving.welcome(domain, signal)
  }

  define(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    return this.#power.define(domain, signal)
  }

  spawn(domain: DomainSpec, signal: AbortSignal, disksMade?: Promise<void>): Promise<void> {
    return this.#power.spawn(domain, signal, disksMade)
  }

  changes(signal: AbortSignal): AsyncIterable<GuestChange> {
    return guestChanges(this.#libvirt, signal)
  }

  shutdown(uuid: string, signal: AbortSignal): Promise<void> {
    return this.#power.shutdown(uuid, signal)
  }

  powerOff(uuid: string): Promise<void> {
    return this.#power.powerOff(uuid)
  }

  pause(uuid: string): Promise<void> {
    return this.#power.pause(uuid)
  }

  unpause(uuid: string): Promise<void> {
    return this.#power.unpause(uuid)
  }

  suspend(uuid: string): Promise<void> {
    return this.#power.suspend(uuid)
  }

  hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean> {
    return this.#power.hasSavedMemory(uuid, signal)
  }

  resume(uuid: string, signal: AbortSignal): Promise<void> {
    return this.#power.resume(uuid, signal)
  }

  destroy(uuid: string): Promise<void> {
    return this.#power.destroy(uuid)
  }

  copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    return this.#disks.copyRoot(uuid, signal)
  }

  storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    return this.#disks.storeCopy(uuid, image, signal)
  }

  removeRescueDisk(uuid: string): Promise<void> {
    return this.#disks.removeRescueDisk(uuid)
  }

  removeImage(uuid: string, imageId: string): Promise<void> {
    return this.#disks.removeImage(uuid, imageId)
  }

  removeCopy(uuid: string): Promise<void> {
    return this.#disks.removeCopy(uuid)
  }

  async attach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await plugIn(await this.#plugging(domain, device, signal))
  }

  async detach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await takeOut(await this.#plugging(domain, device, signal))
  }

  async #plugging(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal) {
    const running = () => this.#domains.runningXml(domain.uuid, signal)
    return { libvirt: this.#libvirt, domain: await this.#serialPorts.place(domain, signal), device, running }
  }

  async close(): Promise<void> {
    await this.#libvirt.close()
    await this.#disks.close()
  }
}
