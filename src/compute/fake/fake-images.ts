import { writeFile } from 'node:fs/promises'
import type { ImageMeta } from '../../objects/image-meta.ts'
import { withId } from '../images/base-name.ts'
import { type ImagePlaces, imageSources, imageStore } from '../images/image-places.ts'
import { imageNotFound } from '../images/image-refusals.ts'
import type { StoredImage } from '../images/image-source.ts'

/**
 * The images of a simulated host. Its guests read nothing of them, so they only have to be there: where the operator has named
 * a place, in that place, as on a real host; where he has not, every image is.
 */
export class FakeImages {
  readonly #places: ImagePlaces
  /** Made by snapshots, while no folder is named. */
  readonly made = new Map<string, StoredImage>()

  constructor(places: ImagePlaces) {
    this.#places = places
  }

  /** @throws ImageNotFound, ImageUnacceptable, ImageDownloadFailed, the signal's reason */
  async refuseMissing(meta: ImageMeta, signal: AbortSignal): Promise<void> {
    const sources = imageSources(this.#places)
    if (sources.length === 0) return
    const image = withId(meta)
    for (const source of sources) {
      await using content = await source.open(image, signal)
      if (content !== undefined) return
    }
    throw imageNotFound(image, sources)
  }

  /** A simulated guest has written nothing, so its image has no bytes. */
  async add(image: StoredImage): Promise<number> {
    const store = imageStore(this.#places)
    if (store !== undefined) return await store.add(image, (file) => writeFile(file, ''))
    this.made.set(image.id, image)
    return 0
  }

  async remove(uuid: string, imageId: string): Promise<void> {
    await imageStore(this.#places)?.remove(uuid, imageId)
    if (this.made.get(imageId)?.properties.instance_uuid === uuid) this.made.delete(imageId)
  }
}
