import { MessageUndeliverable, toSevbusError } from '../errors.ts'
import { pause } from './abortable.ts'
import type { OutboundMessage, Transport } from './transport.ts'

/** oslo.messaging's `kombu_missing_consumer_retry_timeout`: so long a client may take to declare its queue again. */
const OFFER_MS = 60_000
/** Pauses between two offers grow by this up to four times it. */
const PAUSE_MS = 250
const MAX_BYTES = 16 * 1024 * 1024
const MAX_QUEUES = 200

/**
 * Replies whose queue is not there now: its client may be reconnecting, and declares it again under the same name. They
 * are offered aside, so that a client which is gone for good keeps no hand of the server busy.
 */
export class LostReplies {
  readonly #transport: Transport
  readonly #onDropped: (queue: string, reason: string) => void
  readonly #end: AbortSignal
  readonly #kept = new Map<string, OutboundMessage[]>()
  readonly #offering = new Set<Promise<void>>()
  /** Queues that stayed away, and until when (`performance.now()`) nothing more is offered to them. */
  readonly #gone = new Map<string, number>()
  #bytes = 0

  /** @param end nothing is offered any longer */
  constructor(transport: Transport, onDropped: (queue: string, reason: string) => void, end: AbortSignal) {
    this.#transport = transport
    this.#onDropped = onDropped
    this.#end = end
  }

  /** Takes a reply that could not be delivered, or drops it and says why. */
  keep(queue: string, reply: OutboundMessage, reason: string): void {
    const kept = this.#kept.get(queue)
    const isFull = this.#bytes >= MAX_BYTES || (kept === undefined && this.#kept.size >= MAX_QUEUES)
    if (isFull || this.#isGone(queue) || this.#end.aborted) {
      this.#onDropped(queue, reason)
      return
    }
    this.#bytes += reply.body.length
    if (kept === undefined) this.#begin(queue, [reply])
    else kept.push(reply)
  }

  #begin(queue: string, replies: OutboundMessage[]): void {
    this.#kept.set(queue, replies)
    const offering = this.#offer(queue, replies)
    this.#offering.add(offering)
    void offering.finally(() => this.#offering.delete(offering))
  }

  /** Resolves when nothing is kept any more. */
  async idle(): Promise<void> {
    while (this.#offering.size > 0) await Promise.all(this.#offering)
  }

  async #offer(queue: string, replies: OutboundMessage[]): Promise<void> {
    const until = performance.now() + OFFER_MS
    for (let tries = 1; replies.length > 0; tries++) {
      await pause(PAUSE_MS * Math.min(tries, 4), this.#end)
      const failure = await this.#sendAll(queue, replies)
      if (failure === undefined) continue
      if (!this.#end.aborted && performance.now() < until && mayPass(failure)) continue
      this.#giveUp(queue, replies, failure.message)
    }
    this.#kept.delete(queue)
  }

  /** In order, until one fails. */
  async #sendAll(queue: string, replies: OutboundMessage[]): Promise<Error | undefined> {
    for (let reply = replies[0]; reply !== undefined; reply = replies[0]) {
      try {
        await this.#transport.publish({ kind: 'queue', queue }, reply, { signal: this.#end })
      } catch (error) {
        return toSevbusError(error)
      }
      replies.shift()
      this.#bytes -= reply.body.length
    }
    return undefined
  }

  #giveUp(queue: string, replies: OutboundMessage[], reason: string): void {
    for (const { body } of replies.splice(0)) {
      this.#bytes -= body.length
      this.#onDropped(queue, reason)
    }
    this.#gone.set(queue, performance.now() + OFFER_MS)
    const [oldest] = this.#gone.keys()
    if (this.#gone.size > MAX_QUEUES && oldest !== undefined) this.#gone.delete(oldest)
  }

  #isGone(queue: string): boolean {
    return performance.now() < (this.#gone.get(queue) ?? 0)
  }
}

/** Could the same reply be taken later? */
export function mayPass(error: Error): boolean {
  return error instanceof MessageUndeliverable || toSevbusError(error).retryable
}
