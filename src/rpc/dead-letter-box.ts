import { createHash } from 'node:crypto'
import { TransportUnavailable } from '../errors.ts'
import { pause } from './abortable.ts'
import { deadLettersOf } from './dead-letters.ts'
import { type BusNames, deadLetterQueue } from './names.ts'
import { salvage } from './salvage.ts'
import { spanContextOf, type TraceHeaders, traceHeaders } from './trace-context.ts'
import type { Delivery, Transport } from './transport.ts'

/** A letter may be 4 MiB: so many are held at a time when no other bound is given. */
export const MAX_LETTERS = 10_000
const POLL_MS = 20
/** Letters that the broker counted and does not give in this time are with somebody else, in milliseconds. */
const PATIENCE_MS = 2_000

/** A message that nobody could handle, and why. */
export interface DeadLetter {
  /** What it is named by: the same however often one looks. */
  readonly id: string
  /** When it was parked, in milliseconds since 1970, to the second. */
  readonly parkedAtMs: number | undefined
  /** The queue it was taken from, and is put back into. */
  readonly queue: string
  /** As far as it can be read: anything may have been sent. */
  readonly method: string | undefined
  readonly errorCode: string
  readonly error: string
  /** How often it was worked on. */
  readonly tries: number
  /** The broker's user who sent it, if its sender said so. */
  readonly userId: string | undefined
  readonly contentType: string | undefined
  /** The trace it belongs to, if any. */
  readonly trace: TraceHeaders
  readonly body: Buffer
}

/** What was found in one look. */
export interface Look {
  /** Oldest first. */
  readonly letters: readonly DeadLetter[]
  /** Those beyond the limit, or in somebody else's hands. */
  readonly others: number
}

/** What is to become of a letter. */
export type Verdict = 'keep' | 'replay' | 'purge'

/**
 * The dead letters of a prefix, for a person who looks, mends what was wrong, and sends them again.
 *
 * Looking takes them and gives all of them back, in their order: while somebody looks, nobody else sees them. A letter
 * that is replayed is published with confirm before it is removed: killed in between, it is sent twice, with the same ids.
 */
export class DeadLetterBox {
  readonly #transport: Transport
  readonly #names: BusNames

  constructor(transport: Transport, names: BusNames) {
    this.#transport = transport
    this.#names = names
  }

  /** The first `limit`. All are taken for it: a quorum queue puts what is given back behind what was not taken. */
  async look(limit: number, signal: AbortSignal): Promise<Look> {
    return await this.#open(MAX_LETTERS, signal, async (held, others) => ({
      letters: held.slice(0, limit).map(({ letter }) => letter),
      others: others + Math.max(0, held.length - limit),
    }))
  }

  /**
   * Goes through all of them, and does with each as `judge` says. Aborted on the way, it tells what was done until then.
   * @returns those that were replayed or purged, and those that were to be and are kept, with the reason
   */
  async settle(judge: (letter: DeadLetter) => Verdict, signal: AbortSignal) {
    return await this.#open(MAX_LETTERS, signal, async (held, others) => {
      const settled: DeadLetter[] = []
      const failed: { readonly letter: DeadLetter; readonly error: unknown }[] = []
      for (const each of held) {
        const { letter, delivery } = each
        const verdict = judge(letter)
        if (verdict === 'keep') continue
        try {
          signal.throwIfAborted()
          throwIfLost(delivery, 'somebody else may have it now')
          if (verdict === 'replay') await this.#replay(letter, signal)
          throwIfLost(delivery, 'it was sent again, and could not be removed')
          delivery.ack()
          each.isSettled = true
          settled.push(letter)
        } catch (error) {
          failed.push({ letter, error })
        }
      }
      return { settled, failed, others }
    })
  }

  async #replay({ queue, body, contentType, trace: headers }: DeadLetter, signal: AbortSignal): Promise<void> {
    // To the queue itself and no other: a request to one host must not go to any.
    const type = contentType === undefined ? {} : { contentType }
    await this.#transport.publish({ kind: 'queue', queue }, { body, ...type, headers, mandatory: true }, { signal })
  }

  async #open<T>(
    limit: number,
    signal: AbortSignal,
    work: (held: readonly Held[], others: number) => Promise<T>,
  ): Promise<T> {
    const queue = deadLetterQueue(this.#names)
    await this.#transport.declare(deadLettersOf(this.#names), signal)
    const waiting = await this.#whenNobodyLooks(queue, signal)
    if (waiting === 0) return await work([], 0)
    const held: Held[] = []
    const hold = (delivery: Delivery) => {
      held.push({ delivery, letter: letterOf(delivery), isSettled: false })
    }
    const listener = await this.#transport.listen({ kind: 'queue', queue }, hold, { prefetch: limit })
    let left = 0
    try {
      let last = { count: 0, at: performance.now() }
      while (held.length < Math.min(limit, waiting) && performance.now() - last.at < PATIENCE_MS) {
        await pause(POLL_MS, signal)
        signal.throwIfAborted()
        if (held.length > last.count) last = { count: held.length, at: performance.now() }
      }
      await listener.stop()
      // Of those that come from now on none may be taken for one of ours that is back.
      left = (await this.#transport.inspect(queue, signal))?.messages ?? 0
      return await work(held, Math.max(0, waiting - held.length))
    } finally {
      await listener.close()
      await this.#untilGivenBack(queue, left + held.filter(({ isSettled }) => !isSettled).length)
    }
  }

  /**
   * What somebody has looked at just now is back when his consumer is gone; with one who looks on, the patience ends the wait.
   * @returns how many letters there are
   */
  async #whenNobodyLooks(queue: string, signal: AbortSignal): Promise<number> {
    const end = performance.now() + PATIENCE_MS
    for (;;) {
      const { messages, consumers } = (await this.#transport.inspect(queue, signal)) ?? { messages: 0, consumers: 0 }
      if (consumers === 0 || performance.now() >= end) return messages
      await pause(POLL_MS, signal)
      signal.throwIfAborted()
    }
  }

  /**
   * Whoever looks next, or ourselves, must find them all: a quorum queue has its letters back only some time after the
   * channel is closed, and counts our consumer until then. With somebody else who looks, the patience ends the wait.
   */
  async #untilGivenBack(queue: string, count: number): Promise<void> {
    const end = performance.now() + PATIENCE_MS
    while (performance.now() < end) {
      const state = await this.#transport.inspect(queue).catch(() => undefined)
      if (state === undefined || state.messages >= count) return
      await pause(POLL_MS, new AbortController().signal)
    }
  }
}

interface Held {
  isSettled: boolean
  readonly delivery: Delivery
  readonly letter: DeadLetter
}

function throwIfLost({ lost }: Delivery, consequence: string): void {
  if (lost) throw new TransportUnavailable(`the connection to the broker was lost: ${consequence}`)
}

function letterOf(delivery: Delivery): DeadLetter {
  const { body: stored, headers, sentAtMs } = delivery
  const text = (name: string) => {
    const value = headers[`x-sevbus-${name}`]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const body = text('encoding') === 'base64' ? Buffer.from(stored.toString('latin1'), 'base64') : stored
  const queue = text('queue') ?? text('from') ?? ''
  const tries = Number(text('tries') ?? 1)
  const span = spanContextOf(headers)
  return {
    id: text('letter-id') ?? createHash('sha256').update(queue).update(body).digest('hex').slice(0, 32),
    parkedAtMs: sentAtMs,
    queue,
    method: salvage({ body, contentType: text('content-type'), headers: {} }).method,
    errorCode: text('error-code') ?? 'INTERNAL_ERROR',
    error: text('error') ?? 'nothing is said about why it was parked',
    tries: Number.isFinite(tries) ? tries : 1,
    userId: text('user-id'),
    contentType: text('content-type'),
    trace: span === undefined ? {} : traceHeaders(span),
    body,
  }
}
