/** What was not repeated for so long is said again, in milliseconds: it had been mended meanwhile. */
const FORGET_AFTER_MS = 600_000
/** Remembered at a time; the oldest is forgotten. */
const MAX_KNOWN = 10_000

interface Said {
  readonly cause: string
  atMs: number
}

/** Tells news from repeats, so that what goes wrong at every report of a host is one line in the log. */
export class SaidOnce {
  readonly #known = new Map<string, Said>()
  readonly #now: () => number

  /** @param now milliseconds, by a clock that never jumps */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Is it another cause than the last one of this key, or one that was not heard of for long? */
  isNews(key: string, cause: string): boolean {
    const now = this.#now()
    const known = this.#known.get(key)
    const isNews = known === undefined || known.cause !== cause || now - known.atMs > FORGET_AFTER_MS
    this.#known.delete(key)
    this.#known.set(key, { cause, atMs: now })
    if (this.#known.size > MAX_KNOWN) {
      const [oldest] = this.#known.keys()
      this.#known.delete(oldest as string)
    }
    return isNews
  }

  /** It is mended: the next time it is news, whatever the cause. */
  mended(key: string): void {
    this.#known.delete(key)
  }
}
