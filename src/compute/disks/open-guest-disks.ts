import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { lockFolder } from '../../folder-lock.ts'
import { ImageCache } from '../images/image-cache.ts'
import { type ImagePlaces, imageSources, imageStore } from '../images/image-places.ts'
import { SYSTEM_PATH } from '../run-tool.ts'
import { BASES, basesInUse } from './bases-in-use.ts'
import { GuestDisks } from './guest-disks.ts'

/** A store that sends nothing for so long is given up, in milliseconds. */
const SILENCE_MS = 60_000

/** What an operator decides about images and where disks are. */
export interface DiskOptions extends ImagePlaces {
  readonly instancesPath: string
  /** What hosts share; undefined: nothing. */
  readonly sharedPath?: string | undefined
  readonly imageMaxBytes: number
  readonly imageTimeoutMs: number
  readonly cacheMaxAgeMs: number
  readonly cacheMaxBytes: number
  /** Where the programs are that make disks; the system's folders. */
  readonly toolPath?: string
}

/** Opens this host's disks; one worker at a time. @throws AlreadyInUse */
export async function openGuestDisks(options: DiskOptions, logger: Logger): Promise<GuestDisks> {
  const { instancesPath, sharedPath, toolPath = SYSTEM_PATH } = options
  const folder = join(instancesPath, BASES)
  // QEMU's user passes through, and nobody looks around.
  await mkdir(folder, { recursive: true, mode: 0o711 })
  const lock = await lockFolder(folder, {
    what: 'the folder of the disks of guests',
    fix: 'give this worker another compute.instances_path',
  })
  const images = new ImageCache({
    folder,
    sources: imageSources(options),
    toolPath,
    maxImageBytes: options.imageMaxBytes,
    timeoutMs: options.imageTimeoutMs,
    silenceMs: SILENCE_MS,
    maxAgeMs: options.cacheMaxAgeMs,
    maxBytes: options.cacheMaxBytes,
    inUse: () => basesInUse(instancesPath, sharedPath),
    logger,
    now: Date.now,
  })
  try {
    await images.open()
  } catch (error) {
    lock.release()
    throw error
  }
  return new GuestDisks({
    instancesPath,
    sharedPath,
    basesPath: folder,
    images,
    store: imageStore(options),
    lock,
    tools: { path: toolPath },
  })
}
