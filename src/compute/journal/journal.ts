import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { AlreadyInUse, InvalidFile } from '../../errors.ts'
import { type FolderLock, lockFolder } from '../../folder-lock.ts'
import type { Backlog, Backlogged, DurableMessage, MessageStore, StoredMessage } from '../../rpc/durable-message.ts'
import { LineFile } from './line-file.ts'
import { JournalHeader, JournalRecord } from './records.ts'
import { type Action, type Build, type EndedAction, JournalState, type KnownTry, type Termination } from './state.ts'

/** Below this size, in bytes, the file is left to grow. */
const MIN_SHRINK_BYTES = 4 * 1024 * 1024
/** How much larger than its state the file may become. */
const MAX_GROWTH = 4

/** One append is one line: it is there as a whole after a crash, or not at all. */
const Line = z.array(JournalRecord)

export interface JournalOptions {
  readonly folder: string
  readonly host: string
  /** The disk refused a write: nothing more can be promised here, and the worker must end. Called once. */
  readonly onBroken?: (error: unknown) => void
}

/**
 * What this host has promised and not yet done, on disk: builds and terminations that were begun, and messages that
 * wait to be sent. Opened, it knows what a worker that was killed had begun.
 */
export class Journal implements MessageStore, Backlogged {
  readonly #state: JournalState
  readonly #header: JournalHeader
  readonly #lock: FolderLock
  readonly #taken = new Set<string>()
  readonly #notBefore = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  readonly #openedAtMs = Date.now()
  #file!: LineFile

  private constructor(header: JournalHeader, state: JournalState, lock: FolderLock) {
    this.#header = header
    this.#state = state
    this.#lock = lock
  }

  /** Reads the file, drops a last line that was torn by a crash, and writes it anew without what is over. */
  static async open({ folder, host, onBroken = () => {} }: JournalOptions): Promise<Journal> {
    const lock = await lockFolder(folder, {
      what: `the journal of host ${host}`,
      fix: 'give this worker a state folder of its own',
    })
    try {
      const path = join(folder, 'journal.jsonl')
      const journal = new Journal({ sevbus_journal: 1, host }, await readState(path, host), lock)
      const content = journal.#content()
      let shrunkBytes = Buffer.byteLength(content)
      const shrink = (bytes: number) => {
        if (bytes < Math.max(MIN_SHRINK_BYTES, MAX_GROWTH * shrunkBytes)) return undefined
        const shrunk = journal.#content()
        shrunkBytes = Buffer.byteLength(shrunk)
        return shrunk
      }
      journal.#file = await LineFile.create(path, content, { shrink, onBroken })
      return journal
    } catch (error) {
      lock.release()
      throw error
    }
  }

  /** The latest try of this instance that came here. */
  known(uuid: string): KnownTry | undefined {
    return this.#state.tries.get(uuid)
  }

  build(uuid: string): Build | undefined {
    return this.#state.builds.get(uuid)
  }

  builds(): readonly Build[] {
    return [...this.#state.builds.values()]
  }

  termination(uuid: string): Termination | undefined {
    return this.#state.terminations.get(uuid)
  }

  terminations(): readonly Termination[] {
    return [...this.#state.terminations.values()]
  }

  action(uuid: string): Action | undefined {
    return this.#state.actions.get(uuid)
  }

  actions(): readonly Action[] {
    return [...this.#state.actions.values()]
  }

  endedAction(uuid: string): EndedAction | undefined {
    return this.#state.endedActions.get(uuid)
  }

  /** Facts and messages together: all of them last, or none. The state has them at once, the disk when it resolves. */
  append(records: readonly JournalRecord[]): Promise<void> {
    for (const record of records) this.#state.apply(record)
    return this.#file.append(JSON.stringify(records))
  }

  /** Resolves when everything appended before is on disk. */
  flushed(): Promise<void> {
    return this.#file.flushed()
  }

  /** Only the first message of each key, and none that is being sent or waits for its next try. */
  async take(limit: number): Promise<readonly StoredMessage[]> {
    const taken: StoredMessage[] = []
    const keys = new Set<string>()
    const now = Date.now()
    for (const message of this.#state.messages.values()) {
      if (taken.length >= limit) break
      const isFirst = !keys.has(message.orderingKey)
      keys.add(message.orderingKey)
      if (!isFirst || this.#taken.has(message.id) || (this.#notBefore.get(message.id) ?? 0) > now) continue
      this.#taken.add(message.id)
      taken.push({ ...message, failures: this.#failures.get(message.id) ?? 0 })
    }
    // A message leaves only when what it tells is on disk.
    await this.flushed()
    return taken
  }

  async sent(ids: readonly string[]): Promise<boolean> {
    await this.append([{ type: 'sent', ids: [...ids] }])
    for (const id of ids) {
      this.#release(id)
      this.#failures.delete(id)
    }
    return this.#state.messages.size > this.#taken.size
  }

  async postpone(id: string, delayMs: number): Promise<void> {
    this.#release(id)
    this.#notBefore.set(id, Date.now() + delayMs)
    this.#failures.set(id, (this.#failures.get(id) ?? 0) + 1)
  }

  async backlog(): Promise<Backlog> {
    const [oldest] = this.#state.messages.values()
    if (oldest === undefined) return { messages: 0, oldestAgeSeconds: undefined }
    // Journals of the first release do not say when: known since the worker started.
    const oldestAgeSeconds = Math.max(0, Date.now() - (oldest.storedAtMs ?? this.#openedAtMs)) / 1000
    return { messages: this.#state.messages.size, oldestAgeSeconds }
  }

  /** Waits for what was appended. */
  async close(): Promise<void> {
    await this.#file.close()
    this.#lock.release()
  }

  #release(id: string): void {
    this.#taken.delete(id)
    this.#notBefore.delete(id)
  }

  #content(): string {
    const lines = [JSON.stringify(this.#header)]
    for (const record of this.#state.snapshot()) lines.push(JSON.stringify([record]))
    return `${lines.join('\n')}\n`
  }
}

/** Messages as they are appended with the facts they tell; their ids stay the same however often they are sent. */
export function queued(messages: readonly DurableMessage[]): JournalRecord {
  return {
    type: 'queued',
    messages: messages.map((message) => ({ ...message, id: randomUUID(), storedAtMs: Date.now() })),
  }
}

/** @throws InvalidFile, AlreadyInUse (the journal of another host) */
async function readState(path: string, host: string): Promise<JournalState> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const state = new JournalState()
  const lines = text.split('\n')
  // What stands behind the last line end was never confirmed to anybody.
  lines.pop()
  const [first, ...rest] = lines
  if (first === undefined) return state
  checkHeader(path, host, first)
  for (const [index, line] of rest.entries()) {
    const content = tryParse(line)
    if (content === undefined && index === rest.length - 1) break
    const records = Line.safeParse(content)
    if (!records.success) throw unreadable(path, index + 2)
    for (const record of records.data) state.apply(record)
  }
  return state
}

function checkHeader(path: string, host: string, line: string): void {
  const header = JournalHeader.safeParse(tryParse(line))
  if (!header.success) throw unreadable(path, 1)
  if (header.data.host === host) return
  throw new AlreadyInUse(`${path} is the journal of host ${header.data.host}, not of ${host}`, {
    path,
    fix: 'give every host a state folder of its own',
  })
}

function tryParse(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** In the middle it is no torn write: somebody else wrote, or the disk is bad; guessing could start a guest twice. */
function unreadable(path: string, line: number): InvalidFile {
  const fix = 'restore it, or move it away when no guest of this host matters'
  return new InvalidFile(`${path} cannot be read at line ${line}; ${fix}`, { path, line, fix })
}
