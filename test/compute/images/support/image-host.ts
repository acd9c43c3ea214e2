import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { ImageCache, type ImageCacheOptions } from '../../../../src/compute/images/image-cache.ts'
import { ImageFolder } from '../../../../src/compute/images/image-folder.ts'
import { ImageMeta } from '../../../../src/objects/image-meta.ts'
import { aFolder } from '../../support/folders.ts'

const run = promisify(execFile)
const MIB = 1024 ** 2

export type ImageChanges = Partial<Record<keyof ImageMeta, unknown>>

/** An image in the request, of an id of its own. */
export function anImage(changes: ImageChanges = {}): ImageMeta & { readonly id: string } {
  return ImageMeta.parse({ id: randomUUID(), name: 'an-image', ...changes }) as ImageMeta & { readonly id: string }
}

/** A host with an image folder and a cache. */
export async function anImageHost(options: Partial<ImageCacheOptions> & { readonly toolPath: string }) {
  const folder = await aFolder()
  const [store, bases] = [join(folder, 'store'), join(folder, 'bases')]
  for (const each of [store, bases]) await mkdir(each)
  const logger = pino({ level: 'silent' })
  const cache = new ImageCache({
    folder: bases,
    sources: [new ImageFolder(store)],
    maxImageBytes: 64 * MIB,
    timeoutMs: 60_000,
    silenceMs: 60_000,
    maxAgeMs: 60_000,
    maxBytes: 1024 * MIB,
    inUse: async () => new Set(),
    logger,
    now: Date.now,
    ...options,
  })
  await cache.open()
  return {
    cache,
    store,
    bases,
    /** Everything in the folder of the bases, half-made files too. */
    left: () => readdir(bases),
    put: (image: ImageMeta, content: Uint8Array, suffix = '') =>
      writeFile(join(store, `${image.id}${suffix}`), content),
  }
}

/** Bytes that are no zeros and no format: the same for the same seed. */
export function someBytes(length: number, seed = 'x'): Buffer {
  const block = createHash('sha512').update(seed).digest()
  return Buffer.alloc(length, block)
}

/** A qcow2 image of the content, made by qemu-img. */
export async function aQcow2(content: Buffer, ...options: readonly string[]): Promise<Buffer> {
  const folder = await aFolder()
  const [raw, packed] = [join(folder, 'raw'), join(folder, 'qcow2')]
  await writeFile(raw, content)
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, packed])
  return await readFile(packed)
}

/** What `qemu-img` makes of these arguments, its file last; `cwd` is a folder of its own. */
export async function madeByQemuImg(file: string, ...commands: readonly (readonly string[])[]): Promise<Buffer> {
  const cwd = await aFolder()
  for (const args of commands) await run('qemu-img', [...args], { cwd })
  return await readFile(join(cwd, file))
}
