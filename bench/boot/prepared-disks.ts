import { mkdir } from 'node:fs/promises'
import { pino } from 'pino'
import { GuestDisks } from '../../dist/compute/disks/guest-disks.js'
import { ImageCache } from '../../dist/compute/images/image-cache.js'
import { ImageFolder } from '../../dist/compute/images/image-folder.js'
import type { DomainSpec } from '../../dist/compute/libvirt/domain-spec.js'
import { SYSTEM_PATH } from '../../dist/compute/run-tool.js'
import { lockFolder } from '../../dist/folder-lock.js'
import type { Instance } from '../../src/objects/instance.ts'

const MIB = 1024 ** 2

/** Makes guests' disks before a clock runs, as the worker would: its own code, with a cache of its own beside the worker's. */
export async function openPreparedDisks(instancesPath: string, imageFolder: string, cacheFolder: string) {
  await mkdir(cacheFolder, { recursive: true, mode: 0o711 })
  const images = new ImageCache({
    folder: cacheFolder,
    sources: [new ImageFolder(imageFolder)],
    toolPath: SYSTEM_PATH,
    maxImageBytes: 1024 * MIB,
    timeoutMs: 60_000,
    silenceMs: 60_000,
    maxAgeMs: Number.POSITIVE_INFINITY,
    maxBytes: Number.POSITIVE_INFINITY,
    inUse: async () => new Set(),
    logger: pino({ level: 'silent' }),
    now: Date.now,
  })
  const lock = await lockFolder(cacheFolder, { what: 'the cache of a benchmark', fix: 'start one at a time' })
  const disks = new GuestDisks({
    instancesPath,
    sharedPath: undefined,
    basesPath: cacheFolder,
    images,
    store: undefined,
    lock,
    tools: { path: SYSTEM_PATH },
  })
  return {
    /** @returns milliseconds */
    async make(domain: DomainSpec, image: Instance['image']): Promise<number> {
      const before = performance.now()
      await disks.create(domain, { image, configDrive: [] }, AbortSignal.timeout(60_000))
      return performance.now() - before
    },
    remove: (uuid: string) => disks.remove(uuid),
    close: () => disks.close(),
  }
}
