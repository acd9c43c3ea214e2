import { closeSync, openSync, readSync } from 'node:fs'

/**
 * The bytes of a file that somebody names on the command line, which may be anything: a disk, `/dev/zero`, `<(a command)`.
 * Of a longer one no more is read than it takes to know that it is longer.
 *
 * @throws Error that says so, or what the system says
 */
export function readNamedFile(path: string, maxBytes: number): Buffer {
  const file = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(maxBytes + 1)
    for (let read = 0; read <= maxBytes; ) {
      const more = readSync(file, buffer, read, buffer.length - read, null)
      if (more === 0) return buffer.subarray(0, read)
      read += more
    }
    throw new Error(`it has more than ${maxBytes} bytes`)
  } finally {
    closeSync(file)
  }
}

/** Flavors, images, hosts and rate cards have some hundred bytes, and hosts some thousand. */
export const MAX_DOCUMENT_BYTES = 1024 * 1024
