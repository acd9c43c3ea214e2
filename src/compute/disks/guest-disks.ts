import { randomUUID } from 'node:crypto'
import { open, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  DiskCreationFailed,
  FlavorDiskTooSmall,
  GuestNotFound,
  HostCapabilityMissing,
  SevbusError,
} from '../../errors.ts'
import type { FolderLock } from '../../folder-lock.ts'
import { imageLabel } from '../../objects/image-meta.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import { flushFolder, replaceFile } from '../atomic-file.ts'
import type { HeldBase, ImageCache } from '../images/image-cache.ts'
import type { StoredImage } from '../images/image-source.ts'
import type { ImageStore } from '../images/image-store.ts'
import { CONSOLE_LOG, type DiskSpec, type DomainSpec, RESCUE_DISK } from '../libvirt/domain-spec.ts'
import type { DiskFolder } from '../virt-driver.ts'
import { BASE_FILE, BASES, RESCUE_BASE_FILE } from './bases-in-use.ts'
import type { DiskContents } from './disk-contents.ts'
import { occupiedBytes, offeredDiskGb } from './disk-space.ts'
import {
  asideOf,
  filesOf,
  flushFile,
  guestFolder,
  guestFolders,
  isFolder,
  isMade,
  makeGuestFolder,
  refuseOutside,
  removeGuestFolder,
} from './guest-folder.ts'
import { makeConfigDrive } from './make-config-drive.ts'
import { type DiskTools, makeEphemeralDisk, makeOverlay, makeSwapDisk } from './make-disk.ts'
import { readConsoleLog } from './read-console-log.ts'
import { copyRoot, flattenRootCopy, removeRootCopy } from './root-copy.ts'
import { shareGuestDisks } from './share-disks.ts'
import { refuseOtherFolder, storageId } from './shared-storage.ts'
import { takeGuestDisks } from './take-disks.ts'

const MIB = 1024 ** 2

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
    const folder = guestFolder(this.#options.instancesPath, domain.uuid)
    const { logFile } = domain.serial
    // Volumes are attached, and made by nobody here.
    const disks = domain.disks.filter(({ role }) => role !== 'volume')
    for (const file of [...disks.map((disk) => disk.file), logFile]) refuseOutside(folder, file)
    try {
      signal.throwIfAborted()
      await makeGuestFolder(folder)
      await removeUnfinished(folder)
      for (const disk of disks) {
        if (!(await isMade(disk.file))) await this.#create(disk, contents, signal)
      }
      await makeLogFile(logFile)
      await flushFolder(folder)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof SevbusError ? error : notMade(folder, error as NodeJS.ErrnoException)
    }
  }

  /**
   * What the root disk begins as is here, and fits; it stays until that is disposed of.
   * @throws the ImageCache's errors, FlavorDiskTooSmall, DiskCreationFailed, the signal's reason
   */
  async holdImage(domain: DomainSpec, { image }: DiskContents, signal: AbortSignal): Promise<Disposable> {
    const folder = guestFolder(this.#options.instancesPath, domain.uuid)
    try {
      const base = await this.#options.images.hold(image, signal)
      try {
        for (const disk of domain.disks) if (disk.role === 'root') refuseTooSmall(disk, image, base)
      } catch (error) {
        base[Symbol.dispose]()
        throw error
      }
      return base
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof SevbusError ? error : notMade(folder, error as NodeJS.ErrnoException)
    }
  }

  /** Gone already: returns. */
  async remove(uuid: string): Promise<void> {
    await removeGuestFolder(guestFolder(this.#options.instancesPath, uuid))
  }

  /** Keeps the guest's root disk as it is now; nobody writes to it meanwhile. */
  async copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    await copyRoot(guestFolder(this.#options.instancesPath, uuid), this.#options.tools, signal)
  }

  /** @returns the bytes of the image @throws HostCapabilityMissing, InvalidArguments, DiskCreationFailed */
  async storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    const { instancesPath, store, basesPath, tools } = this.#options
    if (store === undefined) {
      const fix = 'set compute.image_folder there'
      throw new HostCapabilityMissing(`this host has no folder for images; ${fix}`, { fix })
    }
    const folder = guestFolder(instancesPath, uuid)
    return await store.add(image, (file) => flattenRootCopy(folder, basesPath, file, tools, signal))
  }

  /** Gone already, or of another guest: returns. */
  async removeImage(uuid: string, imageId: string): Promise<void> {
    await this.#options.store?.remove(uuid, imageId)
  }

  /** Gone already: returns. */
  async removeRescueDisk(uuid: string): Promise<void> {
    const folder = guestFolder(this.#options.instancesPath, uuid)
    // The disk first: while it is there its base stays.
    for (const name of [RESCUE_DISK, RESCUE_BASE_FILE]) await rm(join(folder, name), { force: true })
  }

  /** Gone already: returns. */
  async removeCopy(uuid: string): Promise<void> {
    await removeRootCopy(guestFolder(this.#options.instancesPath, uuid))
  }

  /** The end of what a guest has said. */
  async consoleLog(uuid: string, maxBytes: number): Promise<Buffer> {
    return readConsoleLog(join(guestFolder(this.#options.instancesPath, uuid), CONSOLE_LOG), maxBytes)
  }

  /** Hosts that tell the same see each other's disks. */
  storage(): Promise<string> {
    return storageId(this.#root)
  }

  /** Kept as they are, where the guest does not find them; done already: tells them again. @throws GuestNotFound */
  async setAside(uuid: string): Promise<LeftDisks> {
    const folder = guestFolder(this.#options.instancesPath, uuid)
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
    const folder = guestFolder(this.#options.instancesPath, uuid)
    const aside = asideOf(folder)
    if (!(await isFolder(aside))) return
    await removeGuestFolder(folder)
    await rename(aside, folder)
    await flushFolder(this.#options.instancesPath)
  }

  /** Gone already: returns. */
  async removeAside(uuid: string): Promise<void> {
    await removeGuestFolder(asideOf(guestFolder(this.#options.instancesPath, uuid)))
  }

  /**
   * Copies what another host has left; done already: returns.
   * @throws InvalidSharedStorage, DiskCreationFailed, HostCapabilityMissing, the signal's reason
   */
  async take(domain: DomainSpec, left: LeftDisks, { image }: DiskContents, signal: AbortSignal): Promise<void> {
    const folder = guestFolder(this.#options.instancesPath, domain.uuid)
    try {
      await refuseOtherFolder(this.#root, left.folder, basename(asideOf(folder)))
      await makeGuestFolder(folder)
      await removeUnfinished(folder)
      const { images, tools } = this.#options
      await takeGuestDisks(domain, left, image, { images, tools, basesFolder: BASES }, signal)
      await flushFolder(folder)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof SevbusError ? error : notMade(folder, error as NodeJS.ErrnoException)
    }
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
    const folder = guestFolder(this.#options.instancesPath, uuid)
    if (!(await isFolder(folder))) throw new GuestNotFound(`this host has no disks of ${uuid}`, { instance_uuid: uuid })
    return { folder, files: await filesOf(folder) }
  }

  /**
   * The disks of a guest that comes as it runs are its disks here, too; done already: returns.
   * @returns its folder
   * @throws InvalidSharedStorage, DiskCreationFailed, the signal's reason
   */
  async share(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<string> {
    const folder = guestFolder(this.#options.instancesPath, domain.uuid)
    try {
      signal.throwIfAborted()
      await refuseOtherFolder(this.#root, theirs.folder, basename(folder))
      await makeGuestFolder(folder)
      await shareGuestDisks(domain, theirs)
      await makeLogFile(domain.serial.logFile)
      await flushFolder(folder)
      return folder
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof SevbusError ? error : notMade(folder, error as NodeJS.ErrnoException)
    }
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

  /** Under another name, until it is whole. */
  async #create(disk: DiskSpec, contents: DiskContents, signal: AbortSignal): Promise<void> {
    const unfinished = `${disk.file}.${randomUUID()}.new`
    try {
      await this.#make(disk, unfinished, contents, signal)
      await flushFile(unfinished)
      // A link in its place goes, and not what it leads to.
      await rename(unfinished, disk.file)
    } finally {
      await rm(unfinished, { force: true })
    }
  }

  async #make(disk: DiskSpec, file: string, contents: DiskContents, signal: AbortSignal): Promise<void> {
    const { tools } = this.#options
    switch (disk.role) {
      case 'root':
      case 'rescue':
        return await this.#makeRoot(disk, file, contents, signal)
      case 'ephemeral':
        return await makeEphemeralDisk(file, disk.sizeMib, tools, signal)
      case 'swap':
        return await makeSwapDisk(file, disk.sizeMib, tools, signal)
      case 'config drive':
        return await makeConfigDrive(file, disk.device, contents.configDrive, tools, signal)
      case 'volume':
        return
      default:
        return disk.role satisfies never
    }
  }

  async #makeRoot(disk: DiskSpec, file: string, { image }: DiskContents, signal: AbortSignal): Promise<void> {
    using base = await this.#options.images.hold(image, signal)
    refuseTooSmall(disk, image, base)
    // Before the disk that needs it: what is read after a crash is never less than what is used.
    const about = disk.role === 'rescue' ? RESCUE_BASE_FILE : BASE_FILE
    await replaceFile(join(disk.file, '..', about), base.name)
    await makeOverlay(
      file,
      base.path,
      disk.sizeMib === 0 ? base.bytes : disk.sizeMib * MIB,
      this.#options.tools,
      signal,
    )
  }
}

/** What a worker that died had begun. */
async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.endsWith('.new')) await rm(join(folder, name), { recursive: true, force: true })
  }
}

/** There before QEMU writes, so that nobody else makes it with another's rights; what is in it stays. */
async function makeLogFile(file: string): Promise<void> {
  if (await isMade(file)) return
  await rm(file, { force: true })
  const made = await open(file, 'wx', 0o600)
  await made.close()
}

/** A root disk of 0 GiB is as large as the image is, as in Nova. */
function refuseTooSmall({ sizeMib }: DiskSpec, image: DiskContents['image'], { bytes }: HeldBase): void {
  if (sizeMib === 0 || bytes <= sizeMib * MIB) return
  const neededGb = Math.ceil(bytes / 1024 ** 3)
  const fix = `take a flavor whose root disk has ${neededGb} GiB or more`
  throw new FlavorDiskTooSmall(
    `the flavor has root_gb=${sizeMib / 1024}, but ${imageLabel(image)} is a disk of ${bytes} bytes; ${fix}`,
    { image: image.id ?? null, property: 'root_gb', value: sizeMib / 1024, needed: neededGb, fix },
  )
}

function notMade(folder: string, error: NodeJS.ErrnoException): DiskCreationFailed {
  const fix = error.code === 'ENOSPC' ? 'make room there' : "let the worker's user write there"
  return new DiskCreationFailed(
    `the disks in ${basename(folder)} could not be made: ${error.message}; ${fix}`,
    { folder, reason: error.message, fix },
    { cause: error },
  )
}
