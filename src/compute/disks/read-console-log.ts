import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/**
 * The end of a guest's log. The guest writes what it likes, as much as it likes, and somebody may have put a link, or a
 * pipe, in its place: none is followed, and no more is read than is asked for.
 *
 * @returns nothing where there is no log yet
 */
export async function readConsoleLog(path: string, maxBytes: number): Promise<Buffer> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
  try {
    await using file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    const stat = await file.stat()
    if (!stat.isFile()) return Buffer.alloc(0)
    const length = Math.min(stat.size, maxBytes)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, stat.size - length)
    return buffer.subarray(0, bytesRead)
  } catch (error) {
    if (['ENOENT', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) return Buffer.alloc(0)
    throw error
  }
}
