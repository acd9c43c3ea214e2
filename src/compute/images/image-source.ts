import type { ImageMeta } from '../../objects/image-meta.ts'

/** An image with an id: what has none is a volume's, and is in no image store. */
export type StoredImage = ImageMeta & { readonly id: string }

/** The bytes of an image as a store gives them. Disposed of, read to its end or not, it holds nothing any more. */
export interface ImageContent extends AsyncDisposable {
  /** To be read once; a chunk is only good until the next one. */
  readonly chunks: AsyncIterable<Uint8Array>
  /** As the store tells it, if it does. */
  readonly bytes: number | undefined
}

/** A place where images are. */
export interface ImageSource {
  /** For messages to people. */
  readonly description: string
  /**
   * @param signal ends the chunks, too
   * @returns undefined: it has no such image
   * @throws ImageDownloadFailed, or whatever went wrong on the way
   */
  open(image: StoredImage, signal: AbortSignal): Promise<ImageContent | undefined>
}
