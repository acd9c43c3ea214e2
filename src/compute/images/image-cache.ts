import { randomUUID } from 'node:crypto'
import { lstat, open, readdir, rename, rm, statfs, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { HostCapabilityMissing } from '../../errors.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import { flushFolder } from '../atomic-file.ts'
import { baseName, isBaseName, withId } from './base-name.ts'
import { examineImage } from './examine-image.ts'
import { imageNotFound, noSpace, refuseTooLargeDisk, tooSlow } from './image-refusals.ts'
import type { ImageSource, StoredImage } from './image-source.ts'
import { rawImage, spaceForRaw } from './raw-image.ts'
import { receiveImage } from './receive-image.ts'
import { SharedWork } from './shared-work.ts'

export interface ImageCacheOptions {
  readonly folder: string
  /** Asked in their order. */
  readonly sources: readonly ImageSource[]
  /** Where qemu-img is looked for. */
  readonly toolPath: string
  /** Of an image as it comes, and of the disk that it becomes. */
  readonly maxImageBytes: number
  /** From the first byte to the finished base, in milliseconds. */
  readonly timeoutMs: number
  readonly silenceMs: number
  /** Bases that no guest has had for so long are removed, in milliseconds. */
  readonly maxAgeMs: number
  /** All bases together; the oldest that no guest has are removed. */
  readonly maxBytes: number
  /** Names of the bases that guests have. */
  readonly inUse: () => Promise<ReadonlySet<string>>
  readonly logger: Logger
  readonly now: () => number
}

/** A base that is not removed while somebody holds it. */
export interface HeldBase extends Disposable {
  readonly name: string
  readonly path: string
  /** What a guest sees as the size of its disk. */
  readonly bytes: number
}

/** How often old images are looked for, in milliseconds: Nova's `image_cache.manager_interval`. */
const PRUNE_INTERVAL_MS = 2_400_000

/** Makes names of files that nobody else has, and that a restart knows as half-made. */
const UNFINISHED = /^\..*\.new$/

/**
 * The images of this host's guests, each fetched, examined and made a bare disk (raw) once. A base is nothing that has a
 * header: whatever its image says about itself is read here, within limits, and never again while guests run on it.
 * What is in the folder under its own name is whole.
 */
export class ImageCache {
  readonly #options: ImageCacheOptions
  readonly #fetching = new SharedWork<void>()
  /** How many hold each. */
  readonly #holds = new Map<string, number>()
  readonly #removing = new Map<string, Promise<void>>()
  #pruning: NodeJS.Timeout | undefined

  constructor(options: ImageCacheOptions) {
    this.#options = options
  }

  /** Takes away what a worker that died had begun, and from now on what is old. */
  async open(): Promise<void> {
    const { folder, logger } = this.#options
    for (const name of await readdir(folder)) if (UNFINISHED.test(name)) await rm(join(folder, name), { force: true })
    const prune = () => {
      this.prune().catch((err: unknown) => logger.warn({ err }, 'old images could not be removed'))
    }
    prune()
    this.#pruning = setInterval(prune, PRUNE_INTERVAL_MS).unref()
  }

  /**
   * @returns the base of the image's guests, fetched if it is not here
   * @throws ImageNotFound, ImageUnacceptable, ImageCorrupt, ImageDownloadFailed, InvalidProperty, HostCapabilityMissing,
   *   DiskCreationFailed, or the signal's reason
   */
  async hold(meta: ImageMeta, signal: AbortSignal): Promise<HeldBase> {
    const image = withId(meta)
    const name = baseName(image)
    const path = join(this.#options.folder, name)
    this.#holds.set(name, (this.#holds.get(name) ?? 0) + 1)
    const base = { name, path, [Symbol.dispose]: () => this.#letGo(name) }
    try {
      await this.#removing.get(name)
      if ((await bytesOf(path)) === undefined) {
        await this.#fetching.do(name, (stop) => this.#fetch(image, path, stop), signal)
      }
      const at = new Date(this.#options.now())
      await utimes(path, at, at)
      return { ...base, bytes: (await lstat(path)).size }
    } catch (error) {
      base[Symbol.dispose]()
      throw error
    }
  }

  #letGo(name: string): void {
    const others = (this.#holds.get(name) ?? 1) - 1
    if (others === 0) this.#holds.delete(name)
    else this.#holds.set(name, others)
  }

  /** Removes what no guest has and is old, or too much. @returns the names of what is gone */
  async prune({ maxAgeMs, maxBytes }: Pick<ImageCacheOptions, 'maxAgeMs' | 'maxBytes'> = this.#options) {
    const { folder, inUse, now, logger } = this.#options
    const begun = now()
    const used = await inUse()
    const bases = (
      await Promise.all((await readdir(folder)).filter(isBaseName).map((name) => statBase(folder, name)))
    ).filter((base) => base !== undefined)
    bases.sort((one, other) => one.usedAt - other.usedAt)
    let total = bases.reduce((sum, { occupied }) => sum + occupied, 0)
    const removed: string[] = []
    for (const { name, usedAt, occupied } of bases) {
      // Held since the guests were looked at, it may have one by now.
      if (used.has(name) || usedAt >= begun || this.#holds.has(name)) continue
      if (begun - usedAt <= maxAgeMs && total <= maxBytes) continue
      await this.#remove(name)
      total -= occupied
      removed.push(name)
    }
    if (removed.length > 0) logger.info({ removed }, 'images that no guest has were removed')
    return removed
  }

  async #remove(name: string): Promise<void> {
    const removal = rm(join(this.#options.folder, name), { force: true }).finally(() => this.#removing.delete(name))
    this.#removing.set(name, removal)
    await removal
  }

  /** Ends what is being fetched. */
  async close(): Promise<void> {
    clearInterval(this.#pruning)
    await this.#fetching.stop()
  }

  async #fetch(image: StoredImage, path: string, signal: AbortSignal): Promise<void> {
    const { folder, timeoutMs, logger } = this.#options
    if ((await bytesOf(path)) !== undefined) return
    const deadline = AbortSignal.timeout(timeoutMs)
    const unfinished = () => join(folder, `.${randomUUID()}.new`)
    const [received, raw] = [unfinished(), unfinished()]
    try {
      const both = AbortSignal.any([signal, deadline])
      await this.#receive(image, received, both)
      const finished = await this.#asRaw(image, received, raw, both)
      // Guests only read it, and QEMU may run as another user.
      await publish(finished, path)
      await flushFolder(folder)
      logger.info({ image: image.id, path }, 'an image was fetched')
    } catch (error) {
      signal.throwIfAborted()
      throw deadline.aborted ? tooSlow(image, timeoutMs) : error
    } finally {
      for (const file of [received, raw]) await rm(file, { force: true })
    }
    // The image is here: what cannot be tidied up is no reason not to use it.
    await this.prune().catch((err: unknown) => logger.warn({ err }, 'old images could not be removed'))
  }

  async #receive(image: StoredImage, path: string, signal: AbortSignal): Promise<void> {
    const { sources, maxImageBytes: maxBytes, silenceMs } = this.#options
    if (sources.length === 0) {
      const fix = 'name one in compute.image_folder or compute.image_url'
      throw new HostCapabilityMissing(`this host has no image store; ${fix}`, { fix })
    }
    for (const source of sources) {
      if (await receiveImage(image, source, path, { maxBytes, silenceMs }, signal)) return
    }
    throw imageNotFound(image, sources)
  }

  /** @returns where the bare disk is */
  async #asRaw(image: StoredImage, received: string, raw: string, signal: AbortSignal): Promise<string> {
    const { toolPath, maxImageBytes } = this.#options
    const examined = await examineImage(image, received, toolPath, signal)
    refuseTooLargeDisk(image, examined, maxImageBytes)
    if (examined.format === 'raw') return received
    const needed = await spaceForRaw(received, toolPath, signal)
    if ((await this.#freeBytes()) < needed) await this.prune({ maxAgeMs: 0, maxBytes: 0 })
    const free = await this.#freeBytes()
    if (free < needed) throw noSpace(image, this.#options.folder, needed, free)
    await rawImage(received, raw, toolPath, signal)
    return raw
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#options.folder)
    return bavail * bsize
  }
}

async function bytesOf(path: string): Promise<number | undefined> {
  return (await lstat(path).catch(() => undefined))?.size
}

async function statBase(folder: string, name: string) {
  const stat = await lstat(join(folder, name)).catch(() => undefined)
  return stat && { name, usedAt: stat.mtimeMs, occupied: stat.blocks * 512 }
}

async function publish(file: string, path: string): Promise<void> {
  const handle = await open(file, 'r')
  try {
    await handle.chmod(0o644)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(file, path)
}
