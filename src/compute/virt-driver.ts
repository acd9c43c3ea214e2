import type { DiskReport } from '../objects/disk-report.ts'
import type { EncryptionKeys } from '../objects/guest-report.ts'
import type { LeftDisks } from '../objects/left-disks.ts'
import type { LiveMigrateData } from '../objects/live-migrate-data.ts'
import type { DiskContents } from './disks/disk-contents.ts'
import type { StoredImage } from './images/image-source.ts'
import type { DomainSpec } from './libvirt/domain-spec.ts'
import type { HostCapabilities } from './libvirt/host-capabilities.ts'
import type { PluggedDevice } from './libvirt/plugged-device.ts'

/** A guest as the hypervisor sees it. */
export interface Guest {
  readonly uuid: string
  /** `paused`: its processors stand still, but it holds all that it has. */
  readonly state: 'running' | 'paused' | 'shutoff' | 'crashed'
}

/** Something has happened to a guest, whoever did it; or to any of them: all are to be looked at. */
export type GuestChange = { readonly uuid: string } | { readonly resync: string }

/** How a guest that runs was launched, by the word of what runs it: its document only says what that was told to do. */
export type GuestLaunch =
  /** `policy` is undefined where the hypervisor does not tell it. */
  | { readonly isEncrypted: true; readonly policy: number | undefined }
  | { readonly isEncrypted: false; readonly why: string }

export type DiskFolder = Omit<DiskReport, 'bytes'>

/** What the machine has, in Placement's terms; options of the worker (reserved memory, ratios) are applied later. */
export interface HostResources {
  readonly vcpus: number
  readonly memory_mb: number
  readonly disk_gb: number
}

/**
 * The port to a hypervisor. Every method is idempotent: after a crash the same step is done again. `fake/` is a
 * simulated SEV host, `libvirt/` the real thing; both pass one contract suite.
 */
export interface VirtDriver {
  /** For messages to people: `simulated host`, `qemu:///system`. */
  readonly description: string
  readonly hypervisorType: string
  /**
   * Asks the host anew, so that a change of BIOS, kernel or libvirt is seen without a restart.
   * @param maxAgeMs what it has answered so short a time ago will do
   */
  capabilities(signal: AbortSignal, maxAgeMs?: number): Promise<HostCapabilities>
  resources(signal: AbortSignal): Promise<HostResources>
  /** All that are defined on the host, whoever defined them. */
  guests(signal: AbortSignal): Promise<readonly Guest[]>
  /** As the kernel counts them, whoever uses them; undefined: it does not tell. */
  encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined>
  /** @throws GuestNotFound */
  domainXml(uuid: string, signal: AbortSignal): Promise<string>
  /** The end of what the guest has written to its serial port. @throws GuestNotFound */
  consoleLog(uuid: string, maxBytes: number, signal: AbortSignal): Promise<Buffer>
  /**
   * Of an encrypted guest; one that does not run was not launched.
   * @throws LibvirtError when the guest could not be asked, which says nothing of it
   */
  launch(uuid: string, signal: AbortSignal): Promise<GuestLaunch>
  /**
   * Has what the root disk begins as ready, so that `createDisks` need not look for it; no guest is touched.
   * @returns keeps it until it is disposed of
   * @throws ImageNotFound, ImageUnacceptable, ImageDownloadFailed, ImageCorrupt, FlavorDiskTooSmall, DiskCreationFailed,
   *   HostCapabilityMissing
   */
  holdImage(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<Disposable>
  /**
   * Makes the guest's disks; done already: leaves them.
   * @throws ImageNotFound, ImageUnacceptable, ImageDownloadFailed, ImageCorrupt, FlavorDiskTooSmall, DiskCreationFailed,
   *   HostCapabilityMissing
   */
  createDisks(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<void>
  /** Gone already: returns. */
  removeDisks(uuid: string): Promise<void>
  /** Folders of disks, set aside or not, whether the guests themselves are here or not. */
  diskFolders(signal: AbortSignal): Promise<readonly DiskFolder[]>
  /** What these take on disk. Gone already: nothing. */
  diskBytes(folder: DiskFolder): Promise<number>
  /** What it sees of disks: hosts that tell the same can take over guests from each other. */
  storage(signal: AbortSignal): Promise<string>
  /** Of a guest that is off: its disks are kept, where it does not find them. Done already: tells them again. */
  setDisksAside(uuid: string): Promise<LeftDisks>
  /** Its disks are its own again; done already, or never set aside: returns. */
  bringDisksBack(uuid: string): Promise<void>
  /** What was set aside is not needed any more; gone already: returns. */
  removeDisksAside(uuid: string): Promise<void>
  /**
   * Makes the guest's disks as copies of those that another host has left, made larger where the domain's are; what it does
   * not find there is for `createDisks` to make. Done already: leaves them.
   * @throws InvalidSharedStorage, DiskCreationFailed, and what createDisks throws
   */
  takeDisks(domain: DomainSpec, left: LeftDisks, contents: DiskContents, signal: AbortSignal): Promise<void>
  /** Of a guest that is to go to another host as it runs. @throws GuestNotFound, InvalidSharedStorage when it has what stays */
  disksOf(uuid: string): Promise<LeftDisks>
  /**
   * Makes ready for a guest that comes as it runs: its disks are its disks here, too. Done already: tells the same again.
   * @throws InvalidSharedStorage, DiskCreationFailed, VolumeAttachFailed when a volume of it is not here
   */
  expectGuest(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData>
  /**
   * Brings the guest to a host that expects it. Under way already: waits for that. When it returns the guest does not run
   * here any more, and stays defined. Aborted, nobody waits any more, and the guest goes on leaving.
   * @throws MigrationError, OperationNotSupportedForSEV, GuestNotFound; whether it runs here is to be looked up then
   */
  liveMigrate(uuid: string, host: string, data: LiveMigrateData, signal: AbortSignal): Promise<void>
  /**
   * Gives up a live migration that is under way, and returns when none is; one whose guest runs at its destination already
   * (post-copy) ends there. @throws LibvirtError
   */
  abortLiveMigration(uuid: string, signal: AbortSignal): Promise<void>
  /**
   * Has a live migration end whatever the guest writes: it goes on at its destination and its memory follows, or it stands still
   * until it is there.
   * @returns false when none is under way, or it cannot be done yet
   */
  completeLiveMigration(uuid: string, signal: AbortSignal): Promise<boolean>
  /**
   * The guest that was expected runs here, and is to start with this definition when it is started.
   * @throws MigrationError when it does not run, SpawnFailed when another one does
   */
  welcomeGuest(domain: DomainSpec, signal: AbortSignal): Promise<void>
  /**
   * Defines and starts the guest; running already with the same definition: returns.
   * @param disksMade its disks are made meanwhile: it may be defined before, and is not started
   * @throws SpawnFailed, EncryptionSlotsExhausted, HostCapabilityMissing, and what `disksMade` rejects with
   */
  spawn(domain: DomainSpec, signal: AbortSignal, disksMade?: Promise<void>): Promise<void>
  /** Only defines the guest, which is off; anew where it is defined already. @throws SpawnFailed, HostCapabilityMissing */
  define(domain: DomainSpec, signal: AbortSignal): Promise<void>
  /** libvirt's number of the domain, which each start has another of, until the daemon itself is started anew; undefined: it does not run. */
  domainId(uuid: string, signal: AbortSignal): Promise<number | undefined>
  /** One of `guests`; undefined: the host has no such guest. */
  guest(uuid: string, signal: AbortSignal): Promise<Guest | undefined>
  /**
   * What happens to guests, from now on, until the signal aborts. It begins with `resync` as soon as events come, and has one wherever some may
   * have been lost, with why.
   */
  changes(signal: AbortSignal): AsyncIterable<GuestChange>
  /** Asks the guest to shut down, and does not wait for it. Off already, or not able to hear: returns. */
  shutdown(uuid: string, signal: AbortSignal): Promise<void>
  /** Takes the guest's power at once; its definition and its disks stay. Off already, or gone: returns. */
  powerOff(uuid: string): Promise<void>
  /** Its processors stand still; it keeps its memory and its key. @throws LibvirtError when it does not run */
  pause(uuid: string): Promise<void>
  /** @throws LibvirtError when it is not paused */
  unpause(uuid: string): Promise<void>
  /** Saves its memory on the host and powers it off. @throws LibvirtError when it does not run, or is encrypted */
  suspend(uuid: string): Promise<void>
  /** Was its memory saved by `suspend`? */
  hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean>
  /** Starts it from its saved memory. @throws SpawnFailed, LibvirtError when it runs already */
  resume(uuid: string, signal: AbortSignal): Promise<void>
  /** Keeps the root disk as it is now, in the guest's folder; its guest must not write meanwhile. Kept already: keeps it anew. */
  copyRoot(uuid: string, signal: AbortSignal): Promise<void>
  /**
   * Makes an image of what was kept, in the store of images. There already, as the same: leaves it.
   * @returns its bytes
   * @throws HostCapabilityMissing, InvalidArguments when another image has its id, DiskCreationFailed
   */
  storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number>
  /** From the store of images: one that `storeCopy` has made of this guest. Gone already, or of another: returns. */
  removeImage(uuid: string, imageId: string): Promise<void>
  /** The disk that the guest was booted from while it was rescued. Gone already: returns. */
  removeRescueDisk(uuid: string): Promise<void>
  /** Gone already: returns. */
  removeCopy(uuid: string): Promise<void>
  /**
   * Plugs a device in that `domain` has: at once where the guest runs, and for its next start. There already: returns.
   * @throws GuestNotFound, VolumeAttachFailed, InterfaceAttachFailed
   */
  attach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void>
  /**
   * Takes a device out that `domain` does not have: for its next start, and a guest that runs is asked to let it go. Whether
   * it has, its document says. Gone already: returns.
   * @throws GuestNotFound, DeviceDetachFailed
   */
  detach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void>
  /** Stops the guest at once and forgets it; gone already: returns. */
  destroy(uuid: string): Promise<void>
  close(): Promise<void>
}
