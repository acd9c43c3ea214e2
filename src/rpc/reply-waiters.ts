import type { Logger } from 'pino'
import { MessagingTimeout, toSevbusError } from '../errors.ts'
import type { Deadline } from './deadline.ts'
import { decodeEnvelope, type JsonObject } from './envelope.ts'
import { decodeFailure } from './failure.ts'
import { salvageMsgId } from './salvage.ts'
import type { Delivery } from './transport.ts'

interface Waiter {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
  /** Restarts the call monitor's clock. */
  readonly alive: () => void
  /** Result of an old-style first part, which comes before an empty last one. */
  partial: unknown
}

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

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /**
   * Waits for the reply to `msgId`. Call it before publishing: the reply can overtake the broker's confirm.
   * @throws what the server failed with, MessagingTimeout when the monitor hears nothing, or the deadline's reason
   */
  wait({ msgId, what, deadline, monitorTimeoutMs }: Wait): Promise<unknown> {
    return new Promise<unknown>((resolve, reject) => {
      let monitor: NodeJS.Timeout | undefined
      const settle = (finish: () => void) => {
        clearTimeout(monitor)
        this.#waiters.delete(msgId)
        finish()
      }
      const alive = () => {
        if (monitorTimeoutMs === undefined) return
        clearTimeout(monitor)
        monitor = setTimeout(() => {
          const message = `${what}: the server has given no sign of life for ${monitorTimeoutMs} ms`
          settle(() => reject(new MessagingTimeout(message, { what, monitor_timeout_ms: monitorTimeoutMs })))
        }, monitorTimeoutMs)
      }
      this.#waiters.set(msgId, {
        resolve: (result) => settle(() => resolve(result)),
        reject: (error) => settle(() => reject(error)),
        alive,
        partial: undefined,
      })
      alive()
      deadline.onEnd((reason) => settle(() => reject(reason)))
    })
  }

  /** The call cannot be answered: it was not sent. */
  fail(msgId: string, error: unknown): void {
    this.#waiters.get(msgId)?.reject(error)
  }

  /** Handles one message of the reply queue. */
  receive(delivery: Delivery): void {
    delivery.ack()
    try {
      this.#settle(decodeEnvelope(delivery.body, delivery.contentType))
    } catch (thrown) {
      const error = toSevbusError(thrown)
      this.#logger.warn({ code: error.code, reason: error.message }, 'a reply cannot be read')
      this.#waiters.get(salvageMsgId(delivery.body) ?? '')?.reject(error)
    }
  }

  rejectAll(error: Error): void {
    for (const waiter of [...this.#waiters.values()]) waiter.reject(error)
  }

  #settle(reply: JsonObject): void {
    const waiter = typeof reply._msg_id === 'string' ? this.#waiters.get(reply._msg_id) : undefined
    if (waiter === undefined) return
    const { failure } = reply
    if (failure !== undefined && failure !== null && failure !== '') {
      waiter.reject(decodeFailure(typeof failure === 'string' ? failure : JSON.stringify(failure)))
    } else if (reply.ending === true) {
      waiter.resolve(reply.result ?? waiter.partial ?? null)
    } else {
      waiter.partial = reply.result ?? waiter.partial
      waiter.alive()
    }
  }
}
