import { rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { GuestNotFound, HostCapabilityMissing } from '../../errors.ts'
import type { FolderLock } from '../../folder-lock.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import { flushFolder } from '../atomic-file.ts'
import type { ImageCache } from '../images/image-cache.ts'
import type { StoredImage } from '../images/image-source.ts'
import type { ImageStore } from '../images/image-store.ts'
import { CONSOLE_LOG, type DomainSpec, RESCUE_DISK } from '../libvirt/domain-spec.ts'
import type { DiskFolder } from '../virt-driver.ts'
import { BASES, RESCUE_BASE_FILE } from './bases-in-use.ts'
import type { DiskContents } from './disk-contents.ts'
import { occupiedBytes, offeredDiskGb } from './disk-space.ts'
import {
  asideOf,
  filesOf,
  guestFolder,
  guestFolders,
  isFolder,
  makeGuestFolder,
  removeGuestFolder,
} from './guest-folder.ts'
import type { DiskTools } from './make-disk.ts'
import { holdBase, makeGuestDisks, makeLogFile, openGuestFolder, orNotMade } from './make-guest-disks.ts'
import { readConsoleLog } from './read-console-log.ts'
import { copyRoot, flattenRootCopy, removeRootCopy } from './root-copy.ts'
import { shareGuestDisks } from './share-disks.ts'
import { refuseOtherFolder, storageId } from './shared-storage.ts'
import { takeGuestDisks } from './take-disks.ts'

export interface GuestDisksOptions {
  /** Nova's `instances_path`: one folder per guest. */
  readonly instancesPath: string
  /** What hosts share that can take over guests from each other, this one's `instancesPath` below it; undefined: nothing. */
  readonly sharedPath: string | undefined
  readonly images: ImageCache
  /** Where snapshots go; undefined: nowhere. */
  readonly store: ImageStore | undefined
  /** Where bases are. */
  readonly basesPath: string
  readonly tools: DiskTools
  /** Of the folder: nobody else removes bases meanwhile. */
  readonly lock: FolderLock
}

/**
 * The disks of this host's guests, and what else is in their folders. A file has its own name only when it is whole and
 * on disk, so a repeated step goes on where a worker died.
 */
export class GuestDisks {
  readonly #options: GuestDisksOptions

  constructor(options: GuestDisksOptions) {
    this.#options = options
  }

  /**
   * Makes what is not there; done already: returns.
   * @throws the ImageCache's errors, FlavorDiskTooSmall, DiskCreationFailed, HostCapabilityMissing, the signal's reason
   */
  async create(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<void> {
    const folder = this.folderOf(domain.uuid)
    await orNotMade(folder, signal, () => makeGuestDisks(folder, domain, contents, this.#options, signal))
  }

  /**
   * What the root disk begins as is here, and fits; it stays until that is disposed of.
   * @throws the ImageCache's errors, FlavorDiskTooSmall, DiskCreationFailed, the signal's reason
   */
  async holdImage(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<Disposable> {
    const folder = this.folderOf(domain.uuid)
    return await orNotMade(folder, signal, () => holdBase(domain, contents, this.#options.images, signal))
  }

  /** Gone already: returns. */
  async remove(uuid: string): Promise<void> {
    await removeGuestFolder(this.folderOf(uuid))
  }

  /** Keeps the guest's root disk as it is now; nobody writes to it meanwhile. */
  async copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    await copyRoot(this.folderOf(uuid), this.#options.tools, signal)
  }

  /** @returns the bytes of the image @throws HostCapabilityMissing, InvalidArguments, DiskCreationFailed */
  async storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    const { store, basesPath, tools } = this.#options
    if (store === undefined) {
      const fix = 'set compute.image_folder there'
      throw new HostCapabilityMissing(`this host has no folder for images; ${fix}`, { fix })
    }
    const folder = this.folderOf(uuid)
    return await store.add(image, (file) => flattenRootCopy(folder, basesPath, file, tools, signal))
  }

  /** Gone already, or of another guest: returns. */
  async removeImage(uuid: string, imageId: string): Promise<void> {
    await this.#options.store?.remove(uuid, imageId)
  }

  /** Gone already: returns. */
  async removeRescueDisk(uuid: string): Promise<void> {
    const folder = this.folderOf(uuid)
    // The disk first: while it is there its base stays.
    for (const name of [RESCUE_DISK, RESCUE_BASE_FILE]) await rm(join(folder, name), { force: true })
  }

  /** Gone already: returns. */
  async removeCopy(uuid: string): Promise<void> {
    await removeRootCopy(this.folderOf(uuid))
  }

  /** The end of what a guest has said. */
  async consoleLog(uuid: string, maxBytes: number): Promise<Buffer> {
    return readConsoleLog(join(this.folderOf(uuid), CONSOLE_LOG), maxBytes)
  }

  /** Hosts that tell the same see each other's disks. */
  storage(): Promise<string> {
    return storageId(this.#root)
  }

  /** Kept as they are, where the guest does not find them; done already: tells them again. @throws GuestNotFound */
  async setAside(uuid: string): Promise<LeftDisks> {
    const folder = this.folderOf(uuid)
    const aside = asideOf(folder)
    if (!(await isFolder(aside))) {
      if (!(await isFolder(folder)))
        throw new GuestNotFound(`this host has no disks of ${uuid}`, { instance_uuid: uuid })
      await rename(folder, aside)
      await flushFolder(this.#options.instancesPath)
    }
    return { folder: aside, files: await filesOf(aside) }
  }

  /** Its own again, in place of what was made of them here; done already: returns. */
  async bringBack(uuid: string): Promise<void> {
    const folder = this.folderOf(uuid)
    const aside = asideOf(folder)
    if (!(await isFolder(aside))) return
    await removeGuestFolder(folder)
    await rename(aside, folder)
    await flushFolder(this.#options.instancesPath)
  }

  /** Gone already: returns. */
  async removeAside(uuid: string): Promise<void> {
    await removeGuestFolder(asideOf(this.folderOf(uuid)))
  }

  /**
   * Copies what another host has left; done already: returns.
   * @throws InvalidSharedStorage, DiskCreationFailed, HostCapabilityMissing, the signal's reason
   */
  async take(domain: DomainSpec, left: LeftDisks, { image }: DiskContents, signal: AbortSignal): Promise<void> {
    const { images, tools } = this.#options
    const folder = this.folderOf(domain.uuid)
    await orNotMade(folder, signal, async () => {
      await refuseOtherFolder(this.#root, left.folder, basename(asideOf(folder)))
      await openGuestFolder(folder)
      await takeGuestDisks(domain, left, image, { images, tools, basesFolder: BASES }, signal)
      await flushFolder(folder)
    })
  }

  /** Of all guests that have disks here. */
  folders(): Promise<readonly DiskFolder[]> {
    return guestFolders(this.#options.instancesPath)
  }

  /** What is in it takes so much on disk. */
  bytesOf({ folder }: DiskFolder): Promise<number> {
    return occupiedBytes(folder)
  }

  folderOf(uuid: string): string {
    return guestFolder(this.#options.instancesPath, uuid)
  }

  /** Of a guest that runs: told to a host that is to share them. @throws GuestNotFound */
  async own(uuid: string): Promise<LeftDisks> {
    const folder = this.folderOf(uuid)
    if (!(await isFolder(folder))) throw new GuestNotFound(`this host has no disks of ${uuid}`, { instance_uuid: uuid })
    return { folder, files: await filesOf(folder) }
  }

  /**
   * The disks of a guest that comes as it runs are its disks here, too; done already: returns.
   * @returns its folder
   * @throws InvalidSharedStorage, DiskCreationFailed, the signal's reason
   */
  async share(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<string> {
    const folder = this.folderOf(domain.uuid)
    return await orNotMade(folder, signal, async () => {
      signal.throwIfAborted()
      await refuseOtherFolder(this.#root, theirs.folder, basename(folder))
      await makeGuestFolder(folder)
      await shareGuestDisks(domain, theirs)
      await makeLogFile(domain.serial.logFile)
      await flushFolder(folder)
      return folder
    })
  }

  get #root(): string {
    return this.#options.sharedPath ?? this.#options.instancesPath
  }

  /** What guests may have in all, in GiB. */
  async offeredGb(): Promise<number> {
    return offeredDiskGb(this.#options.instancesPath)
  }

  async close(): Promise<void> {
    await this.#options.images.close()
    this.#options.lock.release()
  }
}
