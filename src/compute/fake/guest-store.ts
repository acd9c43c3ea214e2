import { EventEmitter } from 'node:events'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { InvalidFile } from '../../errors.ts'
import { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { LineFile } from '../journal/line-file.ts'

/** The file is written anew when it is so much larger than what it tells, and not below the first, in bytes. */
const MIN_SHRINK_BYTES = 4 * 1024 * 1024
const MAX_GROWTH = 4

const StoredGuest = z.strictObject({
  /** The document as it was given. */
  definition: z.string(),
  state: z.enum(['running', 'paused', 'shutoff']),
  /** The document as the hypervisor has it while the guest runs. */
  live: z.string().optional(),
  /** While it runs: the number of this start. */
  domain_id: z.int().optional(),
  /** Its memory was saved when it was suspended. */
  saved: z.boolean().optional(),
  /** Off, because it runs on another host. */
  migrated: z.boolean().optional(),
  /** Whose key it takes while it runs. */
  model: MemEncryptionModel.optional(),
})
export type StoredGuest = z.infer<typeof StoredGuest>

const Files = z.array(z.string())

const Content = z.strictObject({
  version: z.literal(1),
  guests: z.record(z.string(), StoredGuest),
  /** Files by the uuid of their guest. */
  disks: z.record(z.string(), Files),
})
type Content = z.infer<typeof Content>

/** All that there is of one guest from now on; null: nothing. */
const Change = z.strictObject({ uuid: z.string(), guest: StoredGuest.nullable(), disks: Files.nullable() })

/**
 * What the simulated host has: guests and disks, in a file, so that they outlive the worker as real ones do. Its first line
 * is all of them, each later one a guest that has changed: what a boot costs does not grow with the guests that are there.
 */
export class GuestStore {
  readonly folder: string
  readonly guests: Map<string, StoredGuest>
  readonly disks: Map<string, readonly string[]>
  /** `changed`, with the uuid of a guest. */
  readonly events = new EventEmitter<{ changed: [uuid: string] }>()
  #file!: LineFile

  private constructor(folder: string, content: Content) {
    this.folder = folder
    this.guests = new Map(Object.entries(content.guests))
    this.disks = new Map(Object.entries(content.disks))
  }

  /** @throws InvalidFile */
  static async open(folder: string): Promise<GuestStore> {
    await mkdir(folder, { recursive: true })
    const path = join(folder, 'guests.json')
    const store = new GuestStore(folder, await readContent(path))
    const content = store.#content()
    let shrunkBytes = Buffer.byteLength(content)
    const shrink = (bytes: number) => {
      if (bytes < Math.max(MIN_SHRINK_BYTES, MAX_GROWTH * shrunkBytes)) return undefined
      const shrunk = store.#content()
      shrunkBytes = Buffer.byteLength(shrunk)
      return shrunk
    }
    // Whoever saves hears of what the disk refused.
    // As with real guests: whoever kills the worker finds them again, whoever pulls the plug does not.
    store.#file = await LineFile.create(path, content, { shrink, onBroken: () => {}, leftToKernel: true })
    return store
  }

  /** Resolves when what the maps have of this guest now is in the file. Who asks while a write runs shares the next. */
  save(uuid: string): Promise<void> {
    this.events.emit('changed', uuid)
    return this.#file.append(
      JSON.stringify({ uuid, guest: this.guests.get(uuid) ?? null, disks: this.disks.get(uuid) ?? null }),
    )
  }

  /** Waits for what was saved. */
  close(): Promise<void> {
    return this.#file.close()
  }

  #content(): string {
    const content = { version: 1, guests: Object.fromEntries(this.guests), disks: Object.fromEntries(this.disks) }
    return `${JSON.stringify(content)}\n`
  }
}

async function readContent(path: string): Promise<Content> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { version: 1, guests: {}, disks: {} }
    throw error
  }
  try {
    return parseContent(text)
  } catch (error) {
    const fix = 'delete it to begin with an empty simulated host'
    throw new InvalidFile(`${path} is not the state of a simulated host; ${fix}`, { path, fix }, { cause: error })
  }
}

function parseContent(text: string): Content {
  const whole = tryParse(text)
  // No changes yet, or from before there were any.
  if (whole !== undefined) return Content.parse(whole)
  const [first = '', ...changes] = text.split('\n')
  // What stands behind the last line end was never confirmed to anybody.
  changes.pop()
  const content = Content.parse(JSON.parse(first))
  for (const line of changes) {
    const { uuid, guest, disks } = Change.parse(JSON.parse(line))
    if (guest === null) delete content.guests[uuid]
    else content.guests[uuid] = guest
    if (disks === null) delete content.disks[uuid]
    else content.disks[uuid] = disks
  }
  return content
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
