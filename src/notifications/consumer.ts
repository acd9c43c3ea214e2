import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../errors.ts'
import { pause } from '../rpc/abortable.ts'
import { parkDeadLetter } from '../rpc/dead-letters.ts'
import { type BusNames, DEFAULT_BUS_NAMES } from '../rpc/names.ts'
import { RecentIds } from '../rpc/recent-ids.ts'
import { AllowedSenders } from '../rpc/senders.ts'
import type { Delivery, Listener, Source, Transport } from '../rpc/transport.ts'
import {
  DEFAULT_NOTIFICATION_NAMES,
  decodeNotification,
  type Notification,
  type NotificationNames,
} from './notification.ts'

/** Longest pause before a notification is offered again. */
const MAX_RETRY_DELAY_MS = 30_000

export interface NotificationConsumerOptions {
  readonly transport: Transport
  readonly logger: Logger
  /**
   * Called for one notification at a time. It is acknowledged when this resolves, and offered again when it rejects, so
   * store what you make of it before you return. After a crash the last ones come again with the same message_id.
   *
   * Order holds per queue, that is per priority: not between `.info` and `.error`.
   */
  readonly onNotification: (notification: Notification) => Promise<void>
  readonly names?: NotificationNames
  readonly priorities?: readonly string[]
  /** Members of one pool share one copy of everything; without it, all consumers of the topic share the default queues. */
  readonly pool?: string
  /** Look on with a private copy that is gone with the consumer. Takes nothing from others. */
  readonly tap?: boolean
  /** Where dead letters are kept. */
  readonly busNames?: BusNames
  /**
   * After so many failed tries a notification is parked as a dead letter. Without it, it is offered until it is handled:
   * while a database is away nothing is lost, and those behind it wait. What cannot be decoded is parked always.
   */
  readonly maxTries?: number
  /** Users of the broker whose notifications are taken, the others are parked; without any, everyone's. */
  readonly allowedSenders?: readonly string[]
  /** Pause before the next try, in milliseconds, times the number of tries; at most 30 seconds. */
  readonly retryDelayMs?: number
}

/** Reads versioned notifications: ours, and Nova's. */
export class NotificationConsumer {
  readonly #options: Required<Omit<NotificationConsumerOptions, 'pool'>> & { readonly pool: string | undefined }
  readonly #handled = new RecentIds()
  readonly #senders: AllowedSenders
  #queue: Promise<void> = Promise.resolve()
  #listener: Listener | undefined
  readonly #closing = new AbortController()

  constructor(options: NotificationConsumerOptions) {
    this.#senders = new AllowedSenders(options.transport, options.allowedSenders)
    this.#options = {
      names: DEFAULT_NOTIFICATION_NAMES,
      priorities: ['info', 'error'],
      pool: undefined,
      tap: false,
      busNames: DEFAULT_BUS_NAMES,
      maxTries: Number.POSITIVE_INFINITY,
      retryDelayMs: 500,
      allowedSenders: [],
      ...options,
    }
  }

  /** Resolves once notifications can arrive. */
  async start(): Promise<void> {
    this.#listener = await this.#options.transport.listen(this.#source(), (delivery) => this.#accept(delivery), {
      prefetch: 64,
    })
  }

  /** Finishes the one being handled; the others go back. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#listener?.stop()
    await this.#queue
    await this.#listener?.close()
  }

  #source(): Source {
    const { names, priorities, pool, tap } = this.#options
    const places = { exchange: names.exchange, topics: [names.topic], priorities }
    if (tap) return { kind: 'notification-tap', ...places }
    return { kind: 'notifications', ...places, ...(pool !== undefined && { pool }) }
  }

  #accept(delivery: Delivery): void {
    this.#queue = this.#queue
      .then(() => this.#handle(delivery))
      .catch((error: unknown) => {
        this.#options.logger.error({ err: error }, 'a notification could not be settled; it goes back to its queue')
        delivery.requeue()
      })
  }

  async #handle(delivery: Delivery): Promise<void> {
    if (this.#closing.signal.aborted) return delivery.requeue()
    const refused = this.#senders.refusalOf(delivery)
    if (refused !== undefined) return this.#park(delivery, refused)
    let notification: Notification
    try {
      notification = decodeNotification(delivery.body, delivery.contentType)
    } catch (error) {
      return this.#park(delivery, toSevbusError(error))
    }
    if (this.#handled.has(notification.message_id)) return delivery.ack()
    await this.#offer(delivery, notification)
  }

  async #offer(delivery: Delivery, notification: Notification): Promise<void> {
    const { logger, maxTries, retryDelayMs, onNotification } = this.#options
    for (let tries = delivery.deliveryCount; ; tries++) {
      try {
        await onNotification(notification)
        this.#handled.add(notification.message_id)
        return delivery.ack()
      } catch (thrown) {
        const error = toSevbusError(thrown)
        const facts = { event_type: notification.event_type, message_id: notification.message_id, tries }
        logger.warn({ ...facts, code: error.code }, `notification not handled: ${error.message}`)
        if (this.#closing.signal.aborted) return delivery.requeue()
        if (tries >= maxTries) return this.#park(delivery, error)
        await pause(Math.min(retryDelayMs * tries, MAX_RETRY_DELAY_MS), this.#closing.signal)
        if (this.#closing.signal.aborted) return delivery.requeue()
      }
    }
  }

  async #park(delivery: Delivery, error: SevbusError): Promise<void> {
    const { transport, names, busNames, logger, tap } = this.#options
    // A tap looks at a copy: the notification itself is in the hands of others.
    if (!tap) await parkDeadLetter({ transport, names: busNames }, names.topic, delivery, error)
    logger.error({ code: error.code, reason: error.message }, 'notification could not be handled and was put aside')
    delivery.ack()
  }
}
