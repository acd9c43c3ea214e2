const FIRST_MS = 100
const LONGEST_MS = 10_000
const CALM_MS = 30_000

/** Pauses between tries: each twice the last, with jitter so that many workers do not come back at the same moment. */
export class Backoff {
  #failures = 0
  #lastAt = Number.NEGATIVE_INFINITY

  /** Of the pause after one more failure; starts over when there has been none for a while. */
  nextMs(): number {
    const now = performance.now()
    if (now - this.#lastAt > CALM_MS + LONGEST_MS) this.#failures = 0
    this.#lastAt = now
    const full = Math.min(FIRST_MS * 2 ** this.#failures, LONGEST_MS)
    this.#failures++
    return full * (0.5 + Math.random() / 2)
  }
}
