import { open } from 'node:fs/promises'
import { InvalidFile } from '../errors.ts'

const CHUNK_BYTES = 256 * 1024
const NEWLINE = 10

/** The lines of a file, or of standard input (`-`), those of a chunk at a time: a promise for each would cost more than the line. */
export async function* linesOf(file: string): AsyncGenerator<readonly string[]> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunksOf(file)) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const lines: string[] = []
    let from = 0
    for (let to = bytes.indexOf(NEWLINE); to >= 0; to = bytes.indexOf(NEWLINE, from)) {
      lines.push(bytes.toString('utf8', from, to))
      from = to + 1
    }
    // A copy, for the chunk is filled again; whole, for a letter may be torn where the chunk ends.
    rest = Buffer.from(bytes.subarray(from))
    yield lines
  }
  if (rest.length > 0) yield [rest.toString('utf8')]
}

/** Each is good until the next. */
async function* chunksOf(file: string): AsyncGenerator<Buffer> {
  if (file === '-') {
    yield* process.stdin
    return
  }
  const handle = await open(file).catch((error) => {
    throw unreadable(file, file, error)
  })
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES)
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES).catch((error) => {
        throw unreadable(file, file, error)
      })
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

export function unreadable(place: string, file: string, error: unknown): InvalidFile {
  return new InvalidFile(`${place} cannot be read: ${(error as Error).message.split('\n')[0]}`, {
    file,
    fix: 'give files with one notification a line, as sevbus events --json prints them',
  })
}
