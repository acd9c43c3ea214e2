/** Lets at most `limit` pieces of work run at a time; the others wait their turn, first come first served. */
export class Limiter {
  readonly #limit: number
  readonly #waiting: (() => void)[] = []
  #running = 0
  #onIdle: (() => void)[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Whoever comes now has to wait. */
  get isFull(): boolean {
    return this.#running >= this.#limit
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.isFull) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running++
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  /** Resolves when nothing runs and nothing waits. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise((resolve) => this.#onIdle.push(resolve))
  }

  /** The place goes straight to the next in line, so that nobody can slip in between. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else if (--this.#running === 0) for (const tell of this.#onIdle.splice(0)) tell()
  }
}
