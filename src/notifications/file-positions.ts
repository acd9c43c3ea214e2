import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { z } from 'zod'
import { InvalidFile } from '../errors.ts'
import type { Position, Positions } from './positions.ts'

/** An earlier release wrote the number alone. */
const Line = z.record(
  z.string(),
  z.union([
    z.object({ sequence: z.int().min(0), message_id: z.string().nullable() }),
    z
      .int()
      .min(0)
      .transform((sequence) => ({ sequence, message_id: null })),
  ]),
)

/** After so many lines the file is written anew, with what counts. */
const MAX_LINES = 10_000

/** Positions in a file, each line a JSON object of those that moved; a line is on the disk when `write` resolves. */
export class FilePositions implements Positions, AsyncDisposable {
  readonly #path: string
  readonly #known: Map<string, Position>
  readonly #maxLines: number
  #file: FileHandle
  #lines = 0

  private constructor(path: string, known: Map<string, Position>, file: FileHandle, maxLines: number) {
    this.#path = path
    this.#known = known
    this.#file = file
    this.#maxLines = maxLines
  }

  /** Makes the file if need be. A last line that a crash has torn is dropped. @throws InvalidFile */
  static async open(path: string, maxLines = MAX_LINES): Promise<FilePositions> {
    const known = await readPositions(path)
    await writeAnew(path, known)
    return new FilePositions(path, known, await open(path, 'a'), maxLines)
  }

  async read(instances: readonly string[]): Promise<ReadonlyMap<string, Position>> {
    return new Map(
      instances.flatMap((uuid) => {
        const position = this.#known.get(uuid)
        return position === undefined ? [] : [[uuid, position] as const]
      }),
    )
  }

  async write(positions: ReadonlyMap<string, Position>): Promise<void> {
    await this.#file.appendFile(`${JSON.stringify(Object.fromEntries(positions))}\n`)
    await this.#file.datasync()
    for (const [uuid, position] of positions) this.#known.set(uuid, position)
    this.#lines += 1
    if (this.#lines >= this.#maxLines) await this.#shrink()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }

  async #shrink(): Promise<void> {
    await this.#file.close()
    await writeAnew(this.#path, this.#known)
    this.#file = await open(this.#path, 'a')
    this.#lines = 0
  }
}

async function readPositions(path: string): Promise<Map<string, Position>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const known = new Map<string, Position>()
  const lines = text.split('\n').slice(0, -1)
  for (const [index, line] of lines.entries()) {
    const parsed = Line.safeParse(tryParse(line))
    if (parsed.success) for (const [uuid, position] of Object.entries(parsed.data)) known.set(uuid, position)
    else {
      const fix = 'restore it, or move it away to read everything again that is still kept'
      throw new InvalidFile(`${path} has no positions in line ${index + 1}; ${fix}`, { path, line: index + 1, fix })
    }
  }
  return known
}

function tryParse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** In one step: a crash leaves the old file or the new one. */
async function writeAnew(path: string, known: ReadonlyMap<string, Position>): Promise<void> {
  const next = `${path}.next`
  const file = await open(next, 'w')
  try {
    await file.writeFile(known.size === 0 ? '' : `${JSON.stringify(Object.fromEntries(known))}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(next, path)
}
