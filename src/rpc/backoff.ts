const FIRST_MS = 100
const LONGEST_MS = 10_000
/** Beside three times the last pause: so long without a failure, and it was another trouble. */
const CALM_MS = 2_000
/** What has worked for a while is tried again in less than a second, however long the trouble before it was. */
const FAILURES_AFTER_WORK = 3

/** Pauses between tries: each twice the last, with jitter so that many workers do not come back at the same moment. */
export class Backoff {
  #failures = 0
  #endsAt = Number.NEGATIVE_INFINITY
  #lastMs = 0

  /**
   * Of the pause after one more failure; starts over when there has been none for a while.
   * @param workedMs how long what has failed now had worked before
   */
  nextMs(workedMs = 0): number {
    const now = performance.now()
    if (workedMs > CALM_MS) this.#failures = Math.min(this.#failures, FAILURES_AFTER_WORK)
    if (now - this.#endsAt > CALM_MS + 3 * this.#lastMs) this.#failures = 0
    const full = Math.min(FIRST_MS * 2 ** this.#failures, LONGEST_MS)
    this.#failures++
    this.#lastMs = full * (0.5 + Math.random() / 2)
    this.#endsAt = now + this.#lastMs
    return this.#lastMs
  }
}
