import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'
import { Deadline } from './deadline.ts'
import type { MessageStore, StoredMessage } from './durable-message.ts'
import { destinationName, type Transport } from './transport.ts'

/** Messages on their way at a time: one that is not confirmed holds up no other. */
const WINDOW = 64
/** Shorter than stores keep a message for one sender: else another would send it meanwhile, too. */
const SEND_TIMEOUT_MS = 10_000
/** A message that cannot be delivered now is tried again after this many milliseconds, doubling up to the last. */
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 5000, 10_000]

export interface RelayOptions {
  readonly store: MessageStore
  readonly transport: Transport
  readonly logger: Logger
  /** How often to look for messages that nobody announced, in milliseconds. */
  readonly pollIntervalMs: number
}

/**
 * Carries stored messages to the broker: at least once, in order per key, forgotten only after the confirm.
 *
 * A kill between confirm and forgetting sends a message twice with the same ids.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #stop = new AbortController()
  readonly #onTheWay = new Map<string, Promise<void>>()
  #wake: () => void = () => {}
  #announced = false
  #closing = false
  #hasSent = false
  #running: Promise<void> | undefined

  constructor(options: RelayOptions) {
    this.#options = options
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** There is something new: do not wait for the next poll. */
  announce(): void {
    this.#announced = true
    this.#wake()
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
    this.#wake()
    await this.#running
    clearTimeout(timer)
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    // All that are on their way listen to it.
    setMaxListeners(0, this.#stop.signal)
    while (!this.#stop.signal.aborted) {
      this.#announced = false
      const room = WINDOW - this.#onTheWay.size
      const messages = room > 0 ? await this.#take(room) : []
      for (const message of messages) this.#launch(message)
      if (messages.length > 0 && messages.length === room) continue
      if (this.#closing) {
        await Promise.all(this.#onTheWay.values())
        // What was sent may have let its successor go; what cannot be sent waits for the next start.
        if (!this.#hasSent) return
        this.#hasSent = false
        continue
      }
      await this.#idle()
    }
    await Promise.all(this.#onTheWay.values())
  }

  async #take(limit: number): Promise<readonly StoredMessage[]> {
    try {
      const taken = await this.#options.store.take(limit)
      return taken.filter(({ id }) => !this.#onTheWay.has(id))
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'stored messages cannot be read now; trying again')
      return []
    }
  }

  /** Until the next poll, or the next message that was announced or has arrived: its successor may leave now. */
  async #idle(): Promise<void> {
    if (this.#announced || this.#closing) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#options.pollIntervalMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #launch(message: StoredMessage): void {
    const sending = this.#send(message).then((isSent) => {
      this.#onTheWay.delete(message.id)
      if (!isSent) return
      this.#hasSent = true
      this.announce()
    })
    this.#onTheWay.set(message.id, sending)
  }

  /** @returns whether it was sent and is forgotten; never throws */
  async #send(message: StoredMessage): Promise<boolean> {
    const { store, transport, logger } = this.#options
    try {
      using deadline = new Deadline('sending a stored message', SEND_TIMEOUT_MS, this.#stop.signal)
      await transport.publish(message.to, message, deadline.signal)
      await store.sent([message.id])
      return true
    } catch (thrown) {
      const error = toSevbusError(thrown)
      const delayMs = RETRY_DELAYS_MS[Math.min(message.failures ?? 0, RETRY_DELAYS_MS.length - 1)] as number
      const facts = { destination: destinationName(message.to), message_id: message.id, code: error.code, delayMs }
      if (!this.#stop.signal.aborted) logger.warn(facts, `message kept, not sent: ${error.message}`)
      await this.#postpone(message, delayMs, error.message)
      return false
    }
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
