/** Gathers what comes, and hands it on one batch after the other: full, or as it is so long after its first. */
export class Batches<T> {
  readonly #size: number
  readonly #timeoutMs: number
  readonly #handle: (batch: readonly T[]) => Promise<void>
  #gathered: T[] = []
  #timer: NodeJS.Timeout | undefined
  #handling: Promise<void> = Promise.resolve()

  /** @param handle must not throw */
  constructor(size: number, timeoutMs: number, handle: (batch: readonly T[]) => Promise<void>) {
    this.#size = size
    this.#timeoutMs = timeoutMs
    this.#handle = handle
  }

  add(item: T): void {
    this.#gathered.push(item)
    if (this.#gathered.length >= this.#size) this.#handOn()
    else this.#timer ??= setTimeout(() => this.#handOn(), this.#timeoutMs)
  }

  /** Hands on what is there, and resolves when all of it is handled. */
  async finish(): Promise<void> {
    this.#handOn()
    await this.#handling
  }

  #handOn(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#gathered
    this.#gathered = []
    if (batch.length > 0) this.#handling = this.#handling.then(() => this.#handle(batch))
  }
}
