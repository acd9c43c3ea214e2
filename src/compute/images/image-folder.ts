import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageDownloadFailed } from '../../errors.ts'
import type { ImageContent, ImageSource, StoredImage } from './image-source.ts'

/** How files of images are called after the image's id; which format one has it shows itself. */
export const IMAGE_SUFFIXES = ['', '.qcow2', '.raw', '.img']

const CHUNK_BYTES = 1024 * 1024

/** Images as files in a folder of the operator's, named by their ids. Nobody else writes there. */
export class ImageFolder implements ImageSource {
  readonly description: string
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
    this.description = `the folder ${folder}`
  }

  async open({ id }: StoredImage, signal: AbortSignal): Promise<ImageContent | undefined> {
    signal.throwIfAborted()
    for (const suffix of IMAGE_SUFFIXES) {
      const content = await this.#content(join(this.#folder, `${id.toLowerCase()}${suffix}`))
      if (content !== undefined) return content
    }
    return undefined
  }

  async #content(path: string): Promise<ImageContent | undefined> {
    const file = await this.#file(path)
    if (file === undefined) return undefined
    const stat = await file.stat()
    if (stat.isFile()) {
      return { chunks: chunksOf(file), bytes: stat.size, [Symbol.asyncDispose]: () => file.close() }
    }
    await file.close()
    throw notReadable(path, 'it is no file', 'put the image there as a file')
  }

  async #file(path: string): Promise<FileHandle | undefined> {
    try {
      return await open(path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw notReadable(path, (error as Error).message)
    }
  }
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

function notReadable(path: string, reason: string, fix = "let the worker's user read it"): ImageDownloadFailed {
  return new ImageDownloadFailed(`the image ${path} cannot be read: ${reason}; ${fix}`, { path, reason, fix })
}
