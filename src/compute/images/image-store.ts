import { randomUUID } from 'node:crypto'
import { link, lstat, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskCreationFailed, InvalidArguments } from '../../errors.ts'
import { ImageMeta, imageLabel } from '../../objects/image-meta.ts'
import { flushFolder, replaceFile } from '../atomic-file.ts'
import { flushFile } from '../disks/guest-folder.ts'
import { IMAGE_SUFFIXES } from './image-folder.ts'
import type { StoredImage } from './image-source.ts'

/** Half-made images; a folder of images may be several hosts', so the others' are left alone. */
const unfinished = () => `.${randomUUID()}.new`

/** The folder of images, where a host may add to it. What is there is never written over. */
export class ImageStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /**
   * Adds an image, with what is said of it in a file beside it. There already, as the same snapshot: leaves it.
   *
   * @param make writes it, in qcow2, into a file that is not there yet
   * @returns its bytes
   * @throws InvalidArguments when another image has its id, DiskCreationFailed, or what `make` throws
   */
  async add(image: StoredImage, make: (file: string) => Promise<void>): Promise<number> {
    const path = join(this.#folder, `${image.id}.qcow2`)
    const about = join(this.#folder, `${image.id}.json`)
    const there = await this.#bytesOf(image)
    if (there !== undefined) return await this.#sameAs(image, about, there)
    const file = join(this.#folder, unfinished())
    try {
      await make(file)
      await flushFile(file)
      const { size } = await stat(file)
      await replaceFile(about, `${JSON.stringify({ ...image, size }, null, 2)}\n`)
      // Refused where somebody has put one of this name there meanwhile.
      await link(file, path)
      await flushFolder(this.#folder)
      return size
    } catch (error) {
      throw (error as NodeJS.ErrnoException).syscall === undefined ? error : this.#notStored(image, error as Error)
    } finally {
      await rm(file, { force: true })
    }
  }

  /** Only what was made of this instance goes. Gone already: returns. */
  async remove(instanceUuid: string, imageId: string): Promise<void> {
    const [path, about] = [join(this.#folder, `${imageId}.qcow2`), join(this.#folder, `${imageId}.json`)]
    if ((await said(about))?.properties.instance_uuid !== instanceUuid) return
    // What is said of it last: while that is there, a repeat knows whose it is.
    for (const file of [path, about]) await rm(file, { force: true })
    await flushFolder(this.#folder)
  }

  async #bytesOf({ id }: StoredImage): Promise<number | undefined> {
    for (const suffix of IMAGE_SUFFIXES) {
      const found = await lstat(join(this.#folder, `${id}${suffix}`)).catch(() => undefined)
      if (found !== undefined) return found.size
    }
    return undefined
  }

  async #sameAs(image: StoredImage, about: string, bytes: number): Promise<number> {
    const found = await said(about)
    const { instance_uuid } = image.properties
    if (instance_uuid !== undefined && found?.properties.instance_uuid === instance_uuid) return bytes
    const fix = 'choose an id that no image has'
    throw new InvalidArguments(`image_id is ${image.id}, but the store has an image of this id; ${fix}`, {
      field: 'image_id',
      value: image.id,
      fix,
    })
  }

  #notStored(image: StoredImage, error: Error): DiskCreationFailed {
    const fix = `let the worker's user write to ${this.#folder}, and see that there is room`
    return new DiskCreationFailed(
      `${imageLabel(image)} could not be stored: ${error.message}; ${fix}`,
      { image: image.id, reason: error.message, fix },
      { cause: error },
    )
  }
}

/** Undefined: nothing that can be read. */
async function said(about: string): Promise<ImageMeta | undefined> {
  try {
    return ImageMeta.safeParse(JSON.parse(await readFile(about, 'utf8'))).data
  } catch {
    return undefined
  }
}
