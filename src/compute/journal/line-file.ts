import { appendFileSync } from 'node:fs'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { ServiceStopping } from '../../errors.ts'
import { replaceFile } from '../atomic-file.ts'

interface Waiting {
  readonly line: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface LineFileOptions {
  /** Lines need not outlast the machine, only this process: they are left to the kernel. */
  readonly leftToKernel?: boolean
  /** Asked before each write, with the size: new content for the whole file, waiting lines included, or undefined. */
  readonly shrink: (bytes: number) => string | undefined
  /** Called once, when a write or a flush failed. */
  readonly onBroken: (error: unknown) => void
}

/**
 * A file of lines that only grows. An append resolves when its line is on disk; those who append while a flush runs
 * share the next one (group commit), so that a hundred at a time cost two flushes, not a hundred.
 *
 * After a failed write or flush nothing more is accepted: what the disk has is then unknown, and only a reader knows.
 */
export class LineFile {
  readonly #path: string
  readonly #options: LineFileOptions
  #file: FileHandle
  #bytes: number
  #waiting: Waiting[] = []
  #flushing: Promise<void> | undefined
  #latest: Promise<void> = Promise.resolve()
  #broken: unknown
  #closed = false

  private constructor(path: string, file: FileHandle, bytes: number, options: LineFileOptions) {
    this.#path = path
    this.#file = file
    this.#bytes = bytes
    this.#options = options
  }

  /** Begins with `content`, in place of what was there. */
  static async create(path: string, content: string, options: LineFileOptions): Promise<LineFile> {
    await replaceFile(path, content)
    return new LineFile(path, await openForAppending(path, options), Buffer.byteLength(content), options)
  }

  append(line: string): Promise<void> {
    if (this.#broken !== undefined) return Promise.reject(this.#outage())
    if (this.#closed) return Promise.reject(new Error(`${this.#path} is closed`))
    this.#latest = new Promise<void>((resolve, reject) => this.#waiting.push({ line, resolve, reject }))
    this.#flushing ??= this.#flush()
    return this.#latest
  }

  /** Resolves when everything appended before is on disk. */
  flushed(): Promise<void> {
    return this.#latest
  }

  /** Waits for what was appended. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#flushing
    await this.#file.close()
  }

  async #flush(): Promise<void> {
    // One turn later, so that appends of the same turn go together.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        if (this.#broken !== undefined) throw this.#broken
        await this.#write(batch)
        for (const { resolve } of batch) resolve()
      } catch (error) {
        this.#break(error)
        for (const { reject } of batch) reject(this.#outage())
      }
    }
    this.#flushing = undefined
  }

  /** Not the fault of who appends: what is not written goes back to where it came from. */
  #outage(): ServiceStopping {
    return new ServiceStopping(`${this.#path} takes no more; this worker ends`, {}, { cause: this.#broken })
  }

  #break(error: unknown): void {
    if (this.#broken !== undefined) return
    this.#broken = error
    this.#options.onBroken(error)
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const shrunk = this.#options.shrink(this.#bytes)
    if (shrunk !== undefined) return this.#replace(shrunk)
    const bytes = Buffer.from(batch.map(({ line }) => `${line}\n`).join(''))
    // What nobody waits for on the disk is quicker written than handed to another thread.
    if (this.#options.leftToKernel) appendFileSync(this.#file.fd, bytes)
    else await this.#file.appendFile(bytes)
    this.#bytes += bytes.length
  }

  async #replace(content: string): Promise<void> {
    await replaceFile(this.#path, content)
    await this.#file.close()
    this.#file = await openForAppending(this.#path, this.#options)
    this.#bytes = Buffer.byteLength(content)
  }
}

/** A write that returns is on disk (O_DSYNC): one visit to the kernel, where a write and its flush are two. */
function openForAppending(path: string, { leftToKernel = false }: LineFileOptions): Promise<FileHandle> {
  const { O_WRONLY, O_APPEND, O_DSYNC } = constants
  return open(path, O_WRONLY | O_APPEND | (leftToKernel ? 0 : O_DSYNC))
}
