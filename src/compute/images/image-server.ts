import { ImageDownloadFailed } from '../../errors.ts'
import type { ImageContent, ImageSource, StoredImage } from './image-source.ts'

/** Where the id of the image is put into the URL. */
const ID_IN_URL = '{id}'

/**
 * Images from a web server, one URL for each. It is not followed elsewhere: who can make it answer with another address
 * could have the host fetch what only the host may see.
 */
export class ImageServer implements ImageSource {
  readonly description: string
  readonly #template: string

  /** @param template `https://images.example.com/{id}.qcow2` */
  constructor(template: string) {
    this.#template = template
    this.description = `the image server ${new URL(template.replace(ID_IN_URL, 'id')).host}`
  }

  async open({ id }: StoredImage, signal: AbortSignal): Promise<ImageContent | undefined> {
    const url = this.#template.replace(ID_IN_URL, id.toLowerCase())
    // Compressed on the way it would not be the size that is announced.
    const headers = { 'accept-encoding': 'identity' }
    const response = await fetch(url, { signal, redirect: 'manual', headers })
    const { body, status } = response
    // What is being read is cancelled by its reader.
    const dispose = async () => void (await body?.cancel().catch(() => {}))
    if (status === 200 && body !== null) {
      const length = Number(response.headers.get('content-length') ?? Number.NaN)
      const bytes = Number.isSafeInteger(length) ? length : undefined
      return { chunks: body, bytes, [Symbol.asyncDispose]: dispose }
    }
    await dispose()
    if (status === 404 || status === 410) return undefined
    const fix = 'write the URL in compute.image_url that gives the image itself, without a login or a redirect'
    const reason = `it answers with status ${status}`
    throw new ImageDownloadFailed(`${this.description} does not give image ${id}: ${reason}; ${fix}`, {
      image: id,
      reason,
      fix,
    })
  }
}
