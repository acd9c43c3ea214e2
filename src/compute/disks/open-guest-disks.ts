import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { lockFolder } from '../../folder-lock.ts'
import { ImageCache } from '../images/image-cache.ts'
import { ImageFolder } from '../images/image-folder.ts'
import { ImageServer } from '../images/image-server.ts'
import type { ImageSource } from '../images/image-source.ts'
import { ImageStore } from '../images/image-store.ts'
import { SYSTEM_PATH } from '../run-tool.ts'
import { BASES, basesInUse } from './bases-in-use.ts'
import { GuestDisks } from './guest-disks.ts'

/** A store that sends nothing for so long is given up, in milliseconds. */
const SILENCE_MS = 60_000

/** What an operator decides about images and where disks are. */
export interface DiskOptions {
  readonly instancesPath: string
  /** What hosts share; undefined: nothing. */
  readonly sharedPath?: string | undefined
  /** Images by id in a folder; a URL with `{id}`. Either, both or none. */
  readonly imageFolder: string | undefined
  readonly imageUrl: string | undefined
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
    sources: sourcesOf(options),
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
  const store = options.imageFolder === undefined ? undefined : new ImageStore(options.imageFolder)
  return new GuestDisks({
    instancesPath,
    sharedPath,
    basesPath: folder,
    images,
    store,
    lock,
    tools: { path: toolPath },
  })
}

function sourcesOf({ imageFolder, imageUrl }: DiskOptions): readonly ImageSource[] {
  return [
    ...(imageFolder === undefined ? [] : [new ImageFolder(imageFolder)]),
    ...(imageUrl === undefined ? [] : [new ImageServer(imageUrl)]),
  ]
}
