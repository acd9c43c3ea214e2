/** What has worked for a while is tried again in less than a second, however long the trouble before it was. */
const FAILURES_AFTER_WORK = 3

interface BackoffOptions {
  /** The first pause at most, in milliseconds; default: 100. */
  readonly firstMs?: number
  /** No pause is longer, in milliseconds; default: 10 seconds. */
  readonly longestMs?: number
  /**
   * Beside three times the last pause: so long without a failure, and it was another trouble. More than one try takes; in
   * milliseconds, default: 2 seconds.
   */
  readonly calmMs?: number
}

/** Pauses between tries: each twice the last, with jitter so that many workers do not come back at the same moment. */
export class Backoff {
  readonly #firstMs: number
  readonly #longestMs: number
  readonly #calmMs: number
  #failures = 0
  #endsAt = Number.NEGATIVE_INFINITY
  #lastMs = 0

  constructor({ firstMs = 100, longestMs = 10_000, calmMs = 2_000 }: BackoffOptions = {}) {
    this.#firstMs = firstMs
    this.#longestMs = longestMs
    this.#calmMs = calmMs
  }

  /**
   * Of the pause after one more failure; starts over when there has been none for a while.
   * @param workedMs how long what has failed now had worked before
   */
  nextMs(workedMs = 0): number {
    const now = performance.now()
    if (workedMs > this.#calmMs) this.#failures = Math.min(this.#failures, FAILURES_AFTER_WORK)
    if (now - this.#endsAt > this.#calmMs + 3 * this.#lastMs) this.#failures = 0
    const full = Math.min(this.#firstMs * 2 ** this.#failures, this.#longestMs)
    this.#failures++
    this.#lastMs = full * (0.5 + Math.random() / 2)
    this.#endsAt = now + this.#lastMs
    return this.#lastMs
  }
}
