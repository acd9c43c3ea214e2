import type { Logger } from 'pino'
import { MessagingTimeout, type SevbusError, toSevbusError } from '../errors.ts'
import type { Deadline } from './deadline.ts'
import { decodeMessage, type JsonObject } from './envelope.ts'
import { decodeFailure } from './failure.ts'
import type { BusObserver } from './observer.ts'
import { salvage } from './salvage.ts'
import type { AllowedSenders } from './senders.ts'
import type { Delivery } from './transport.ts'

export interface Wait {
  readonly msgId: string
  /** Names the call in errors: `compute.node1.build_and_run_instance`. */
  readonly what: string
  readonly deadline: Deadline
  readonly monitorTimeoutMs: number | undefined
}

/** Calls that wait for their reply, by `_msg_id`. Late, unknown and repeated replies are dropped. */
export class ReplyWaiters {
  readonly #waiters = new Map<string, Waiter>()
  readonly #logger: Logger
  readonly #senders: AllowedSenders
  readonly #observer: BusObserver | undefined

  /** @param senders whose replies are taken */
  constructor(logger: Logger, senders: AllowedSenders, observer?: BusObserver) {
    this.#logger = logger
    this.#senders = senders
    this.#observer = observer
  }

  /**
   * Waits for the reply to `msgId`. Call it before publishing: the reply can overtake the broker's confirm.
   * @throws what the server failed with, MessagingTimeout when the monitor hears nothing, or the deadline's reason
   */
  wait({ msgId, what, deadline, monitorTimeoutMs }: Wait): Promise<unknown> {
    const waiter = new Waiter(what, monitorTimeoutMs)
    this.#waiters.set(msgId, waiter)
    deadline.onEnd((reason) => this.fail(msgId, reason))
    if (monitorTimeoutMs !== undefined) {
      waiter.onSilence = (error) => this.fail(msgId, error)
      waiter.alive()
    }
    return waiter.promise
  }

  /** The call cannot be answered: it was not sent. */
  fail(msgId: string, error: unknown): void {
    this.#take(msgId)?.reject(error)
  }

  /** Handles one message of the reply queue. */
  receive(delivery: Delivery): void {
    delivery.ack()
    const refused = this.#senders.refusalOf(delivery)
    try {
      if (refused !== undefined) this.#sayRefused(delivery, refused)
      else this.#settle(decodeMessage(delivery))
    } catch (thrown) {
      const error = toSevbusError(thrown)
      this.#observer?.replyRefused(error.code)
      this.#logger.warn({ code: error.code, reason: error.message }, 'a reply cannot be read')
      this.fail(salvage(delivery).msgId ?? '', error)
    }
  }

  /** Who waits goes on waiting: else anyone could end a call. */
  #sayRefused(delivery: Delivery, { code, message }: SevbusError): void {
    this.#observer?.replyRefused(code)
    const facts = { what: salvage(delivery).msgId, user_id: delivery.userId, code, reason: message }
    this.#logger.warn(facts, 'a reply was refused')
  }

  rejectAll(error: Error): void {
    for (const msgId of [...this.#waiters.keys()]) this.fail(msgId, error)
  }

  #take(msgId: string): Waiter | undefined {
    const waiter = this.#waiters.get(msgId)
    this.#waiters.delete(msgId)
    waiter?.stopMonitor()
    return waiter
  }

  #settle(reply: JsonObject): void {
    const { _msg_id: msgId, failure, result, ending } = reply
    const waiter = typeof msgId === 'string' ? this.#waiters.get(msgId) : undefined
    if (waiter === undefined) return
    if (failure !== undefined && failure !== null && failure !== '') {
      const text = typeof failure === 'string' ? failure : JSON.stringify(failure)
      this.#take(msgId as string)?.reject(decodeFailure(text))
    } else if (ending === true) {
      this.#take(msgId as string)?.resolve(result ?? waiter.partial ?? null)
    } else {
      waiter.partial = result ?? waiter.partial
      waiter.alive()
    }
  }
}

/** One call that waits. */
class Waiter {
  resolve: (result: unknown) => void = () => {}
  reject: (error: unknown) => void = () => {}
  readonly promise = new Promise<unknown>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })
  onSilence: (error: MessagingTimeout) => void = () => {}
  /** Result of an old-style first part, which comes before an empty last one. */
  partial: unknown
  readonly #what: string
  readonly #monitorTimeoutMs: number | undefined
  #monitor: NodeJS.Timeout | undefined

  constructor(what: string, monitorTimeoutMs: number | undefined) {
    this.#what = what
    this.#monitorTimeoutMs = monitorTimeoutMs
  }

  /** Restarts the call monitor's clock. */
  alive(): void {
    if (this.#monitorTimeoutMs === undefined) return
    clearTimeout(this.#monitor)
    this.#monitor = setTimeout(() => {
      const facts = { what: this.#what, monitor_timeout_ms: this.#monitorTimeoutMs }
      const text = `${this.#what}: the server has given no sign of life for ${this.#monitorTimeoutMs} ms`
      this.onSilence(new MessagingTimeout(text, facts))
    }, this.#monitorTimeoutMs)
  }

  stopMonitor(): void {
    clearTimeout(this.#monitor)
  }
}
