import { randomUUID } from 'node:crypto'
import { open, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DiskCreationFailed, FlavorDiskTooSmall, SevbusError } from '../../errors.ts'
import { imageLabel } from '../../objects/image-meta.ts'
import { flushFolder, replaceFile } from '../atomic-file.ts'
import type { HeldBase, ImageCache } from '../images/image-cache.ts'
import type { DiskSpec, DomainSpec } from '../libvirt/domain-spec.ts'
import { BASE_FILE, RESCUE_BASE_FILE } from './bases-in-use.ts'
import type { DiskContents } from './disk-contents.ts'
import { flushFile, isMade, makeGuestFolder, refuseOutside } from './guest-folder.ts'
import { makeConfigDrive } from './make-config-drive.ts'
import { type DiskTools, makeEphemeralDisk, makeOverlay, makeSwapDisk } from './make-disk.ts'

const MIB = 1024 ** 2

export interface MakingPorts {
  readonly images: ImageCache
  readonly tools: DiskTools
}

/**
 * Makes what is not there of a guest's disks, and its log file.
 * @throws the ImageCache's errors, FlavorDiskTooSmall, DiskCreationFailed, HostCapabilityMissing, the signal's reason
 */
export async function makeGuestDisks(
  folder: string,
  domain: DomainSpec,
  contents: DiskContents,
  ports: MakingPorts,
  signal: AbortSignal,
): Promise<void> {
  const { logFile } = domain.serial
  // Volumes are attached, and made by nobody here.
  const disks = domain.disks.filter(({ role }) => role !== 'volume')
  for (const file of [...disks.map((disk) => disk.file), logFile]) refuseOutside(folder, file)
  signal.throwIfAborted()
  await openGuestFolder(folder)
  for (const disk of disks) {
    if (!(await isMade(disk.file))) await makeWhole(disk, contents, ports, signal)
  }
  await makeLogFile(logFile)
  await flushFolder(folder)
}

/**
 * What the root disk begins as is here, and fits; it stays until that is disposed of.
 * @throws the ImageCache's errors, FlavorDiskTooSmall
 */
export async function holdBase(
  domain: DomainSpec,
  { image }: DiskContents,
  images: ImageCache,
  signal: AbortSignal,
): Promise<Disposable> {
  const base = await images.hold(image, signal)
  try {
    for (const disk of domain.disks) if (disk.role === 'root') refuseTooSmall(disk, image, base)
  } catch (error) {
    base[Symbol.dispose]()
    throw error
  }
  return base
}

/** Made if need be, without what a worker that died had begun there. @throws DiskCreationFailed */
export async function openGuestFolder(folder: string): Promise<void> {
  await makeGuestFolder(folder)
  for (const name of await readdir(folder)) {
    if (name.endsWith('.new')) await rm(join(folder, name), { recursive: true, force: true })
  }
}

/** There before QEMU writes, so that nobody else makes it with another's rights; what is in it stays. */
export async function makeLogFile(file: string): Promise<void> {
  if (await isMade(file)) return
  await rm(file, { force: true })
  const made = await open(file, 'wx', 0o600)
  await made.close()
}

/** What the system refuses is told as disks of this folder that could not be made. @throws the signal's reason, if it is aborted */
export async function orNotMade<T>(folder: string, signal: AbortSignal, body: () => Promise<T>): Promise<T> {
  try {
    return await body()
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof SevbusError ? error : notMade(folder, error as NodeJS.ErrnoException)
  }
}

/** Under another name, until it is whole. */
async function makeWhole(
  disk: DiskSpec,
  contents: DiskContents,
  ports: MakingPorts,
  signal: AbortSignal,
): Promise<void> {
  const unfinished = `${disk.file}.${randomUUID()}.new`
  try {
    await make(disk, unfinished, contents, ports, signal)
    await flushFile(unfinished)
    // A link in its place goes, and not what it leads to.
    await rename(unfinished, disk.file)
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function make(
  disk: DiskSpec,
  file: string,
  contents: DiskContents,
  ports: MakingPorts,
  signal: AbortSignal,
): Promise<void> {
  switch (disk.role) {
    case 'root':
    case 'rescue':
      return await makeRoot(disk, file, contents, ports, signal)
    case 'ephemeral':
      return await makeEphemeralDisk(file, disk.sizeMib, ports.tools, signal)
    case 'swap':
      return await makeSwapDisk(file, disk.sizeMib, ports.tools, signal)
    case 'config drive':
      return await makeConfigDrive(file, disk.device, contents.configDrive, ports.tools, signal)
    case 'volume':
      return
    default:
      return disk.role satisfies never
  }
}

async function makeRoot(
  disk: DiskSpec,
  file: string,
  { image }: DiskContents,
  { images, tools }: MakingPorts,
  signal: AbortSignal,
): Promise<void> {
  using base = await images.hold(image, signal)
  refuseTooSmall(disk, image, base)
  // Before the disk that needs it: what is read after a crash is never less than what is used.
  const about = disk.role === 'rescue' ? RESCUE_BASE_FILE : BASE_FILE
  await replaceFile(join(disk.file, '..', about), base.name)
  await makeOverlay(file, base.path, disk.sizeMib === 0 ? base.bytes : disk.sizeMib * MIB, tools, signal)
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
