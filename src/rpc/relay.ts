import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'
import { Deadline } from './deadline.ts'
import type { Lease, MessageStore, StoredMessage } from './durable-message.ts'
import { gathered } from './gathered.ts'
import { destinationName, type Transport } from './transport.ts'

/** Messages on their way at a time: one that is not confirmed holds up no other. */
const WINDOW = 64
/** Longer than most leases, which are renewed meanwhile. */
const SEND_TIMEOUT_MS = 10_000
/** A lease is renewed so many times before it would end: most messages are sent and forgotten before the first. */
const LEASE_PARTS = 4
/** What was taken so long ago and could not begin is left: its store gives it again. With a part of the lease, shorter than that. */
const MAX_OFFERED_MS = 2_000
/** What is confirmed is forgotten with others, where others come: a row that goes costs less than the statement that says so. */
const FORGETTING = { enough: WINDOW, waitMs: 25 }
/** A message that cannot be delivered now is tried again after this many milliseconds, doubling up to the last. */
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 5000, 10_000]

export interface RelayOptions {
  readonly store: MessageStore
  readonly transport: Transport
  readonly logger: Logger
  /** How often to look for messages that nobody announced, in milliseconds. */
  readonly pollIntervalMs: number
  /**
   * Does at once, in this process, what a message that was just stored asks for. Undefined: not here, send it. Who rejects
   * has not done it, so it is sent after all; after a crash its store gives it to another.
   */
  readonly doAtHand?: (message: StoredMessage) => Promise<void> | undefined
}

interface Offered {
  readonly message: StoredMessage
  readonly atMs: number
}

/**
 * Carries stored messages to the broker: at least once, in order per key, forgotten only after the confirm. Each is
 * settled by itself, and leaves its place to the next that waits.
 *
 * A kill between confirm and forgetting sends a message twice with the same ids, and what was sent behind it, in their order.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #forget: (id: string) => Promise<void>
  readonly #stop = new AbortController()
  /** By id, until they are forgotten or postponed. */
  readonly #onTheWay = new Map<string, { readonly sending: Promise<void>; readonly sinceMs: number }>()
  /** Places taken: a message that is confirmed has left its own. */
  #sending = 0
  /** By the key of one that is being sent: those that were stored behind it, and taken with it. */
  readonly #behind = new Map<string, Offered[]>()
  /** Done here instead of being sent. */
  readonly #atHand = new Map<string, { readonly doing: Promise<void>; readonly sinceMs: number }>()
  /** Taken when they were stored; they wait for a place. */
  readonly #offered: Offered[] = []
  /** There was no place for all that was due. */
  #hasMore = false
  #wake: () => void = () => {}
  /** Since the store was last asked, something may have become due, or a place free. */
  #changed = false
  #closing = false
  #running: Promise<void> | undefined
  #renewing: NodeJS.Timeout | undefined

  constructor(options: RelayOptions) {
    this.#options = options
    // All that are on their way listen to it.
    setMaxListeners(0, this.#stop.signal)
    this.#forget = gathered(async (ids) => {
      if (await options.store.sent(ids)) this.announce()
    }, FORGETTING)
  }

  start(): void {
    const { lease } = this.#options.store
    if (lease !== undefined) this.#renewing ??= setInterval(() => void this.#renew(lease), lease.ms / LEASE_PARTS)
    this.#running ??= this.#run()
  }

  /** There is something new: do not wait for the next poll. */
  announce(): void {
    this.#changed = true
    this.#wake()
  }

  /** These were stored a moment ago, and are taken already: the store need not be asked for them. */
  offer(messages: readonly StoredMessage[]): void {
    for (const message of messages) {
      const done = this.#options.doAtHand?.(message)
      if (done === undefined) this.#offered.push({ message, atMs: performance.now() })
      else this.#finishAtHand(message, done)
    }
    this.#launchOffered()
  }

  #finishAtHand(message: StoredMessage, done: Promise<void>): void {
    const doing = done
      .then(() => this.#forget(message.id))
      .catch(() => void this.#offered.push({ message, atMs: performance.now() }))
      .then(() => {
        this.#atHand.delete(message.id)
        this.#launchOffered()
        if (this.#closing) this.#wake()
      })
    this.#atHand.set(message.id, { doing, sinceMs: performance.now() })
  }

  /**
   * Sends what waits and can be sent now, then ends; what is left waits for the next start. Idempotent.
   * @param graceMs after it, ends without
   */
  async close(graceMs = 0): Promise<void> {
    this.#closing = true
    const timer = setTimeout(() => {
      this.#stop.abort()
      this.#wake()
    }, graceMs)
    this.announce()
    await this.#running
    clearInterval(this.#renewing)
    clearTimeout(timer)
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#changed = false
      const room = WINDOW - this.#sending
      const sinceMs = performance.now()
      const messages = room > 0 ? await this.#take(room) : []
      this.#hasMore = messages.length >= room
      for (const message of messages) this.#launch(message, sinceMs)
      if (this.#closing && this.#onTheWay.size + this.#atHand.size === 0 && !this.#changed) return
      await this.#idle()
    }
    const sending = [...this.#onTheWay.values()].map(({ sending }) => sending)
    await Promise.all([...sending, ...[...this.#atHand.values()].map(({ doing }) => doing)])
  }

  async #take(limit: number): Promise<readonly StoredMessage[]> {
    try {
      const taken = await this.#options.store.take(limit)
      return taken.filter(({ id }) => !this.#onTheWay.has(id) && !this.#atHand.has(id))
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'stored messages cannot be read now; trying again')
      return []
    }
  }

  /** Until the next poll, or until there may be something to take. */
  async #idle(): Promise<void> {
    if (this.#changed || this.#stop.signal.aborted) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#options.pollIntervalMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #launchOffered(): void {
    while (this.#sending < WINDOW && !this.#stop.signal.aborted) {
      const next = this.#offered.shift()
      if (next === undefined) return
      this.#launchIfFresh(next)
    }
  }

  #launchIfFresh({ message, atMs }: Offered): void {
    if (performance.now() - atMs < MAX_OFFERED_MS) this.#launch(message, atMs)
  }

  /** What has been on its way for long is ours still. It may be sent twice where the store cannot be told, with the same ids. */
  async #renew({ ms, renew }: Lease): Promise<void> {
    const longAgoMs = performance.now() - ms / LEASE_PARTS
    const ids = [...this.#onTheWay, ...this.#atHand].filter(([, { sinceMs }]) => sinceMs <= longAgoMs).map(([id]) => id)
    if (ids.length === 0) return
    try {
      await renew(ids)
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'messages that are being sent cannot be kept for this sender now')
    }
  }

  /** At once, or as soon as the one of its key that is being sent is confirmed. */
  #launch(message: StoredMessage, sinceMs: number): void {
    const { id, orderingKey } = message
    const behind = this.#behind.get(orderingKey)
    if (behind !== undefined) return void behind.push({ message, atMs: sinceMs })
    this.#behind.set(orderingKey, [])
    this.#sending++
    const sending = this.#send(message).then(() => {
      this.#onTheWay.delete(id)
      if (this.#closing) this.#wake()
    })
    this.#onTheWay.set(id, { sending, sinceMs })
  }

  /** Until it is sent and forgotten, or postponed; never throws. */
  async #send(message: StoredMessage): Promise<void> {
    const { transport, logger } = this.#options
    let isSent = false
    try {
      using deadline = new Deadline('sending a stored message', SEND_TIMEOUT_MS, this.#stop.signal)
      await deadline.race(transport.publish(message.to, message, deadline))
      isSent = true
      this.#leave(message)
      await this.#forget(message.id)
    } catch (thrown) {
      const error = toSevbusError(thrown)
      const delayMs = RETRY_DELAYS_MS[Math.min(message.failures, RETRY_DELAYS_MS.length - 1)] as number
      const facts = { destination: destinationName(message.to), message_id: message.id, code: error.code, delayMs }
      if (!this.#stop.signal.aborted) logger.warn(facts, `message kept, not sent: ${error.message}`)
      await this.#postpone(message, delayMs, error.message)
      if (!isSent) await this.#giveUpBehind(message, delayMs, error.message)
    }
  }

  /** Its place is free, and what waits behind it has its turn. */
  #leave(message: StoredMessage): void {
    for (const next of this.#freed(message)) this.#launchIfFresh(next)
    this.#launchOffered()
    if (this.#hasMore) this.announce()
  }

  async #giveUpBehind(message: StoredMessage, delayMs: number, reason: string): Promise<void> {
    const behind = this.#freed(message)
    this.#leave(message)
    const why = `stands behind one that was not sent: ${reason}`
    await Promise.all(behind.map((next) => this.#postpone(next.message, delayMs, why)))
  }

  #freed({ orderingKey }: StoredMessage): readonly Offered[] {
    const behind = this.#behind.get(orderingKey) ?? []
    if (this.#behind.delete(orderingKey)) this.#sending--
    return behind
  }

  /** A store that fails now has the message still, and gives it again when its time with us is over. */
  async #postpone({ id }: StoredMessage, delayMs: number, reason: string): Promise<void> {
    try {
      await this.#options.store.postpone(id, delayMs, reason)
    } catch (error) {
      this.#options.logger.warn({ message_id: id, err: error }, 'a message that was not sent could not be postponed')
    }
  }
}
