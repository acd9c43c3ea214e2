import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DiskCreationFailed, ImageCorrupt, ImageDownloadFailed, ImageUnacceptable, SevbusError } from '../../errors.ts'
import { imageLabel } from '../../objects/image-meta.ts'
import { type ImageDigest, imageDigests } from './image-digests.ts'
import type { ImageSource, StoredImage } from './image-source.ts'

const BYTES_PER_GIB = 1024 ** 3
const ZEROS = Buffer.alloc(1024 * 1024)

export interface ReceiveOptions {
  readonly maxBytes: number
  /** So long without a byte, and the store is given up, in milliseconds. */
  readonly silenceMs: number
}

/**
 * Writes an image to a new file, and leaves it there only if it is what the request says: as long, with the same digests.
 * Stretches of zeros become holes. The file is on disk when this returns.
 *
 * @returns false: the source has no such image
 * @throws ImageCorrupt, ImageDownloadFailed, ImageUnacceptable, InvalidProperty, or the signal's reason
 */
export async function receiveImage(
  image: StoredImage,
  source: ImageSource,
  path: string,
  options: ReceiveOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const digests = imageDigests(image)
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(), options.silenceMs)
  try {
    await using content = await source.open(image, AbortSignal.any([signal, silence.signal]))
    if (content === undefined) return false
    const expected = image.size ?? content.bytes
    refuseTooLarge(image, expected ?? 0, options.maxBytes)
    await using file = await open(path, 'wx', 0o600)
    const received = await receive(image, alive(content.chunks, timer), file, digests, options.maxBytes)
    if (expected !== undefined && received !== expected) throw otherSize(image, expected, received)
    await file.sync()
    return true
  } catch (error) {
    signal.throwIfAborted()
    if (silence.signal.aborted) throw notGiven(image, source, `nothing came for ${options.silenceMs / 1000} s`)
    if (error instanceof SevbusError) throw error
    throw isFull(error) ? notKept(image, path, error as Error) : notGiven(image, source, reasonOf(error))
  } finally {
    clearTimeout(timer)
  }
}

/** Each sign of life puts the end off. */
async function* alive(chunks: AsyncIterable<Uint8Array>, timer: NodeJS.Timeout): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    timer.refresh()
    yield chunk
  }
}

async function receive(
  image: StoredImage,
  chunks: AsyncIterable<Uint8Array>,
  file: FileHandle,
  digests: readonly ImageDigest[],
  maxBytes: number,
): Promise<number> {
  const hashes = digests.map((digest) => ({ ...digest, hash: createHash(digest.algorithm) }))
  let length = 0
  for await (const { buffer, byteOffset, byteLength } of chunks) {
    const chunk = Buffer.from(buffer, byteOffset, byteLength)
    for (const { hash } of hashes) hash.update(chunk)
    refuseTooLarge(image, length + chunk.length, Math.min(maxBytes, image.size ?? maxBytes))
    if (!isZero(chunk)) await writeAll(file, chunk, length)
    length += chunk.length
  }
  await file.truncate(length)
  for (const { hash, value, field, algorithm } of hashes) {
    const found = hash.digest('hex')
    if (found !== value) throw otherDigest(image, field, algorithm, value, found)
  }
  return length
}

async function writeAll(file: FileHandle, chunk: Buffer, position: number): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, written, chunk.length - written, position + written)
    written += bytesWritten
  }
}

function isZero(chunk: Buffer): boolean {
  for (let offset = 0; offset < chunk.length; offset += ZEROS.length) {
    const part = chunk.subarray(offset, offset + ZEROS.length)
    if (!part.equals(ZEROS.subarray(0, part.length))) return false
  }
  return true
}

function refuseTooLarge(image: StoredImage, bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return
  if (image.size !== null && image.size !== undefined && image.size <= maxBytes)
    throw otherSize(image, image.size, bytes)
  const fix = 'raise compute.image_max_gb, or make the image smaller'
  const limit = `compute.image_max_gb=${maxBytes / BYTES_PER_GIB}`
  throw new ImageUnacceptable(`${imageLabel(image)} has size=${bytes}, more than ${limit} allows; ${fix}`, {
    image: image.id,
    property: 'size',
    value: bytes,
    fix,
  })
}

function notGiven(image: StoredImage, { description }: ImageSource, reason: string): ImageDownloadFailed {
  const fix = 'look at the image store, and at the network between'
  return new ImageDownloadFailed(`${description} did not give ${imageLabel(image)} to its end: ${reason}; ${fix}`, {
    image: image.id,
    reason,
    fix,
  })
}

/** It is this host's, and not the store's. */
function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')
}

function notKept(image: StoredImage, path: string, { message: reason }: Error): DiskCreationFailed {
  const folder = dirname(path)
  const fix = 'make room there, or lower compute.image_cache_max_gb'
  return new DiskCreationFailed(`${imageLabel(image)} could not be kept in ${folder}: ${reason}; ${fix}`, {
    folder,
    reason,
    fix,
  })
}

/** fetch hides behind "fetch failed" and "terminated" what happened. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error ? `${message} (${cause.message})` : message
}

const MEND = 'put the image into the store anew, or correct what the request says about it'

function otherSize(image: StoredImage, expected: number, found: number): ImageCorrupt {
  return new ImageCorrupt(
    `${imageLabel(image)} is to have size=${expected}, but the store gave ${found} bytes or more; ${MEND}`,
    { image: image.id, property: 'size', value: expected, found, fix: MEND },
  )
}

function otherDigest(image: StoredImage, property: string, algorithm: string, value: string, found: string) {
  return new ImageCorrupt(
    `${imageLabel(image)} is to have ${property}=${value}, but the ${algorithm} of what the store gave is ${found}; ${MEND}`,
    { image: image.id, property, value, found, fix: MEND },
  )
}
