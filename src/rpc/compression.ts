import { inflateSync } from 'node:zlib'
import { InvalidMessage } from '../errors.ts'

/** What kombu writes into the header `compression` for `kombu_compression=gzip`; the body is zlib's in spite of it. */
const ZLIB = 'application/x-gzip'

/**
 * The body as it was before a Python peer compressed it (`kombu_compression`).
 *
 * @param maxBytes more is not unpacked, so that a small message cannot fill the memory
 * @throws InvalidMessage for a compression that is not known, and a body that cannot be unpacked
 */
export function decompress(body: Buffer, compression: unknown, maxBytes: number): Buffer {
  // kombu's rule: an empty header says nothing.
  if (compression === undefined || compression === null || compression === '') return body
  if (compression !== ZLIB) {
    const fix = 'set kombu_compression=gzip at the sender, or none'
    throw new InvalidMessage(`the compression of the message is not ${ZLIB}, which is the only one read; ${fix}`, {
      fix,
    })
  }
  try {
    return inflateSync(body, { maxOutputLength: maxBytes })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new InvalidMessage(`the message has more than ${maxBytes} bytes when unpacked; so many are not read`)
    }
    throw new InvalidMessage('the message is called compressed, and cannot be unpacked')
  }
}
