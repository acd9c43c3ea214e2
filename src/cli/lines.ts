import { open } from 'node:fs/promises'
import { InvalidFile } from '../errors.ts'

const CHUNK_BYTES = 256 * 1024
const NEWLINE = 10
const NONE = Buffer.alloc(0)

/**
 * The lines of a file, or of standard input (`-`), those of a chunk at a time: a promise for each would cost more than the line.
 * They are good until the next.
 */
export async function* linesOf(file: string): AsyncGenerator<readonly Buffer[]> {
  let torn: Buffer = NONE
  for await (const chunk of chunksOf(file)) {
    const lines: Buffer[] = []
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      const line = chunk.subarray(from, to)
      lines.push(torn.length === 0 ? line : Buffer.concat([torn, line]))
      torn = NONE
      from = to + 1
    }
    // A copy, for the chunk is filled again.
    torn = Buffer.concat([torn, chunk.subarray(from)])
    yield lines
  }
  if (torn.length > 0) yield [torn]
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
