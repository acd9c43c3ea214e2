import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'
import { Deadline } from './deadline.ts'
import type { MessageStore, StoredMessage } from './durable-message.ts'
import { destinationName, type Transport } from './transport.ts'

const BATCH = 64
/** Shorter than stores keep a message for one sender: else another would send it meanwhile, too. */
const BATCH_TIMEOUT_MS = 10_000
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
  readonly #tries = new Map<string, number>()
  #wake: () => void = () => {}
  #announced = false
  #closing = false
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
    const timer = setTimeout(() => this.#stop.abort(), graceMs)
    this.#wake()
    await this.#running
    clearTimeout(timer)
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#announced = false
      const found = await this.#sendBatch().catch((error: unknown) => {
        this.#options.logger.warn({ err: error }, 'stored messages cannot be read now; trying again')
        return 0
      })
      if (found > 0) continue
      if (this.#closing) return
      await this.#idle()
    }
  }

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

  async #sendBatch(): Promise<number> {
    const messages = await this.#options.store.take(BATCH)
    if (messages.length === 0) return 0
    using deadline = new Deadline('sending stored messages', BATCH_TIMEOUT_MS, this.#stop.signal)
    const confirmed = await Promise.all(messages.map((message) => this.#send(message, deadline.signal)))
    const sent = messages.filter((_, index) => confirmed[index]).map(({ id }) => id)
    if (sent.length > 0) await this.#options.store.sent(sent)
    return sent.length
  }

  async #send(message: StoredMessage, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#options.transport.publish(message.to, message, signal)
      this.#tries.delete(message.id)
      return true
    } catch (thrown) {
      const error = toSevbusError(thrown)
      const tries = this.#tries.get(message.id) ?? 0
      this.#tries.set(message.id, tries + 1)
      const delayMs = RETRY_DELAYS_MS[Math.min(tries, RETRY_DELAYS_MS.length - 1)] as number
      const facts = { destination: destinationName(message.to), message_id: message.id, code: error.code, delayMs }
      if (!this.#stop.signal.aborted) this.#options.logger.warn(facts, `message kept, not sent: ${error.message}`)
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
