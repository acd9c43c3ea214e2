/**
 * AMQP does not tell how old the message at the head of a queue is, and taking it out to look would count as a delivery.
 * A queue is first in, first out, so what waits is younger than the message that was taken last, and younger than the last
 * look that found nothing: an idle night before a burst is not the age of the burst.
 */
export class OldestAge {
  readonly #emptyAtMs = new Map<string, number>()

  /**
   * At most so long has the oldest message of a queue waited; 0 when none waits, undefined when nothing is known.
   * @param lastTakenSentAtMs when the message that was taken last was sent, in milliseconds since 1970
   * @param askedAtMs when the queue was asked: what came after that is younger
   */
  seconds(
    queue: string,
    waiting: number,
    lastTakenSentAtMs: number | undefined,
    askedAtMs: number,
  ): number | undefined {
    if (waiting === 0) {
      this.#emptyAtMs.set(queue, askedAtMs)
      return 0
    }
    const bounds = [lastTakenSentAtMs, this.#emptyAtMs.get(queue)].filter((each) => each !== undefined)
    return bounds.length === 0 ? undefined : Math.max(0, askedAtMs - Math.max(...bounds)) / 1000
  }
}
