import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { InvalidFile } from '../../errors.ts'
import { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { replaceFile } from '../atomic-file.ts'

const StoredGuest = z.strictObject({
  /** The document as it was given. */
  definition: z.string(),
  state: z.enum(['running', 'shutoff']),
  /** The document as the hypervisor has it while the guest runs. */
  live: z.string().optional(),
  /** Whose key it takes while it runs. */
  model: MemEncryptionModel.optional(),
})
export type StoredGuest = z.infer<typeof StoredGuest>

const Content = z.strictObject({
  version: z.literal(1),
  guests: z.record(z.string(), StoredGuest),
  /** Files by the uuid of their guest. */
  disks: z.record(z.string(), z.array(z.string())),
})

/** What the simulated host has: guests and disks, in a file, so that they outlive the worker as real ones do. */
export class GuestStore {
  readonly guests: Map<string, StoredGuest>
  readonly disks: Map<string, readonly string[]>
  readonly #path: string
  #writing: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  private constructor(path: string, content: z.infer<typeof Content>) {
    this.#path = path
    this.guests = new Map(Object.entries(content.guests))
    this.disks = new Map(Object.entries(content.disks))
  }

  /** @throws InvalidFile */
  static async open(folder: string): Promise<GuestStore> {
    await mkdir(folder, { recursive: true })
    const path = join(folder, 'guests.json')
    return new GuestStore(path, await readContent(path))
  }

  /** Resolves when all that is in the maps now is on disk. Those who ask while a write runs share the next one. */
  save(): Promise<void> {
    this.#next ??= this.#writing
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        this.#writing = replaceFile(this.#path, this.#serialise())
        return this.#writing
      })
    return this.#next
  }

  #serialise(): string {
    const content: z.infer<typeof Content> = {
      version: 1,
      guests: Object.fromEntries(this.guests),
      disks: Object.fromEntries([...this.disks].map(([uuid, files]) => [uuid, [...files]])),
    }
    return JSON.stringify(content, undefined, 1)
  }
}

async function readContent(path: string): Promise<z.infer<typeof Content>> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { version: 1, guests: {}, disks: {} }
    throw error
  }
  try {
    return Content.parse(JSON.parse(text))
  } catch (error) {
    const fix = 'delete it to begin with an empty simulated host'
    throw new InvalidFile(`${path} is not the state of a simulated host; ${fix}`, { path, fix }, { cause: error })
  }
}
