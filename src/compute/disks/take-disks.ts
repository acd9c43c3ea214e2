import { randomUUID } from 'node:crypto'
import { copyFile, lstat, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SevbusError } from '../../errors.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import { replaceFile } from '../atomic-file.ts'
import type { HeldBase, ImageCache } from '../images/image-cache.ts'
import type { DiskSpec, DomainSpec } from '../libvirt/domain-spec.ts'
import { runTool } from '../run-tool.ts'
import { BASE_FILE } from './bases-in-use.ts'
import { flushFile, isMade } from './guest-folder.ts'
import { type DiskTools, quick } from './make-disk.ts'
import { baseOf } from './share-disks.ts'
import { notThere } from './shared-storage.ts'

const MIB = 1024 ** 2
/** A disk is copied as long as its host wants the guest: nobody knows how large it is. */
const COPY_TIMEOUT_MS = 24 * 3_600_000

export interface TakePorts {
  readonly images: ImageCache
  readonly tools: DiskTools
  /** Nova's name of the folder with bases, beside those of guests. */
  readonly basesFolder: string
}

/** Copies of what another host has left, each under its own name only when it is whole; those that are there stay. */
export async function takeGuestDisks(
  domain: DomainSpec,
  left: LeftDisks,
  image: ImageMeta,
  ports: TakePorts,
  signal: AbortSignal,
): Promise<void> {
  for (const disk of domain.disks) {
    if (disk.role !== 'root' && disk.role !== 'ephemeral') continue
    const from = await leftFile(left, basename(disk.file))
    if (from === undefined && disk.role === 'root') throw notThere(left.folder, `it has no ${basename(disk.file)}`)
    if (from === undefined || (await isMade(disk.file))) continue
    if (disk.role === 'ephemeral') await copyDisk(disk, [from], ports.tools, signal)
    else await takeRoot(disk, from, image, ports, signal)
  }
  await takeVariables(domain, left)
}

/** @returns its whole path; undefined: the source had none @throws InvalidSharedStorage when it is not as the source said */
async function leftFile({ folder, files }: LeftDisks, name: string): Promise<string | undefined> {
  const told = files.find((file) => file.name === name)
  if (told === undefined) return undefined
  const path = join(folder, name)
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => error.code ?? error.message)
  if (typeof found === 'string') throw notThere(path, found)
  if (found.isFile() && found.size === told.bytes) return path
  throw notThere(path, `it has ${found.size} bytes, and its host has told ${told.bytes}`)
}

/** Only what the guest has written, where this host has the image that the disk began as; else all of it. */
async function takeRoot(disk: DiskSpec, from: string, image: ImageMeta, ports: TakePorts, signal: AbortSignal) {
  using base = await ownBase(from, image, ports, signal)
  if (base !== undefined) await replaceFile(join(dirname(disk.file), BASE_FILE), base.name)
  await copyDisk(disk, [...(base ? ['-B', base.path, '-F', 'raw'] : []), from], ports.tools, signal)
}

async function ownBase(
  from: string,
  image: ImageMeta,
  { images, basesFolder }: TakePorts,
  signal: AbortSignal,
): Promise<HeldBase | undefined> {
  const name = await readFile(join(dirname(from), BASE_FILE), 'utf8').catch(() => undefined)
  if (name === undefined) return undefined
  let base: HeldBase
  try {
    base = await images.hold(image, signal)
  } catch (error) {
    signal.throwIfAborted()
    // The store may have lost the image since; the disk has all that the guest needs.
    if (error instanceof SevbusError) return undefined
    throw error
  }
  const theirs = baseOf(join(dirname(dirname(from)), basesFolder), name)
  if (base.name === basename(theirs) && (await hasSameBytes(base.path, theirs, image, signal))) return base
  base[Symbol.dispose]()
  return undefined
}

/** A disk on a base that is another one is lost: where no digest has vouched for both, they are compared. */
async function hasSameBytes(ours: string, theirs: string, { checksum, properties }: ImageMeta, signal: AbortSignal) {
  const [one, other] = await Promise.all([lstat(ours), lstat(theirs).catch(() => undefined)])
  if (other === undefined || one.size !== other.size) return false
  if (one.ino === other.ino && one.dev === other.dev) return true
  if (checksum || properties.os_hash_value) return true
  return await areEqual(ours, theirs, signal)
}

const COMPARED_BYTES = 4 * MIB

async function areEqual(one: string, other: string, signal: AbortSignal): Promise<boolean> {
  await using a = await open(one, 'r')
  await using b = await open(other, 'r')
  const [left, right] = [Buffer.alloc(COMPARED_BYTES), Buffer.alloc(COMPARED_BYTES)]
  for (let at = 0; ; ) {
    signal.throwIfAborted()
    const [x, y] = await Promise.all([a.read(left, 0, COMPARED_BYTES, at), b.read(right, 0, COMPARED_BYTES, at)])
    if (x.bytesRead !== y.bytesRead || left.compare(right, 0, y.bytesRead, 0, x.bytesRead) !== 0) return false
    if (x.bytesRead === 0) return true
    at += x.bytesRead
  }
}

async function copyDisk(disk: DiskSpec, from: readonly string[], tools: DiskTools, signal: AbortSignal): Promise<void> {
  const unfinished = `${disk.file}.${randomUUID()}.new`
  try {
    const args = ['convert', '-q', '-f', 'qcow2', '-O', 'qcow2', ...from, unfinished]
    await runTool('qemu-img', args, { ...quick(tools), timeoutMs: COPY_TIMEOUT_MS }, signal)
    await enlarge(unfinished, disk.sizeMib * MIB, tools, signal)
    await flushFile(unfinished)
    await rename(unfinished, disk.file)
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function enlarge(file: string, bytes: number, tools: DiskTools, signal: AbortSignal): Promise<void> {
  const info = await runTool('qemu-img', ['info', '--output=json', '-f', 'qcow2', file], quick(tools), signal)
  const has = Number(JSON.parse(info)['virtual-size'])
  if (bytes > has) await runTool('qemu-img', ['resize', '-q', '-f', 'qcow2', file, String(bytes)], quick(tools), signal)
}

/** What the guest's firmware keeps, where that is a file of the guest's folder. */
async function takeVariables({ os }: DomainSpec, left: LeftDisks): Promise<void> {
  const file = os.firmware.kind === 'files' ? os.firmware.nvram?.file : undefined
  const from = file && (await leftFile(left, basename(file)))
  if (file === undefined || from === undefined || (await isMade(file))) return
  const unfinished = `${file}.${randomUUID()}.new`
  await copyFile(from, unfinished)
  await rename(unfinished, file)
}
