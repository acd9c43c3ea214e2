import type { Logger } from 'pino'
import type { BusNames } from '../rpc/names.ts'
import type { Transport } from '../rpc/transport.ts'
import type { AnyNotification, Notification, NotificationNames, NotificationPriority } from './notification.ts'

/** What a handler can say beside that it is done (it resolves), or has failed (it rejects). */
export interface Offer {
  /**
   * What was offered goes back to its queue after a pause, for another consumer, or this one, to take: oslo.messaging's
   * `NotificationResult.REQUEUE`. The 16th time it is kept here and offered again, because a broker may drop it.
   */
  requeue(): void
}

interface OneByOne<N> {
  /**
   * Called for one notification at a time. It is acknowledged when this resolves, and offered again when it rejects, so
   * store what you make of it before you return. After a crash the last ones come again with the same message_id.
   *
   * Order holds per queue, that is per priority: not between `.info` and `.error`.
   */
  readonly onNotification: (notification: N, offer: Offer) => Promise<void>
  readonly onBatch?: undefined
}

interface ByBatches<N> {
  /**
   * Called for many notifications at a time: `batchSize`, or as many as there are `batchTimeoutMs` after the first. All are
   * acknowledged when it resolves, and all are offered again, together, when it rejects.
   */
  readonly onBatch: (notifications: readonly N[], offer: Offer) => Promise<void>
  readonly onNotification?: undefined
  /** 100 when absent. */
  readonly batchSize?: number | undefined
  /** 1000 when absent. */
  readonly batchTimeoutMs?: number | undefined
}

/** `versioned` takes Nova's versioned objects and parks what is none; `any` takes whatever oslo.messaging carries. */
export type NotificationHandling =
  | ((OneByOne<Notification> | ByBatches<Notification>) & { readonly payload?: 'versioned' | undefined })
  | ((OneByOne<AnyNotification> | ByBatches<AnyNotification>) & { readonly payload: 'any' })

export interface NotificationSelection {
  /** `info` and `error` when absent: the two that Nova's versioned notifications have. */
  readonly priorities?: readonly NotificationPriority[] | undefined
  /** Members of one pool share one copy of everything; without it, all consumers of the topic share the default queues. */
  readonly pool?: string | undefined
  /**
   * After so many failed tries a notification is parked as a dead letter; of a batch that fails, each is tried once more
   * by itself before. Without it, it is offered until it is handled: while a database is away nothing is lost, and those
   * behind it wait. What cannot be decoded is parked always.
   */
  readonly maxTries?: number | undefined
  /** Users of the broker whose notifications are taken, the others are parked; without any, everyone's. */
  readonly allowedSenders?: readonly string[] | undefined
}

export type NotificationConsumerOptions = NotificationHandling &
  NotificationSelection & {
    readonly transport: Transport
    readonly logger: Logger
    readonly names?: NotificationNames
    /** Throws for what shall be parked at once, however often it might be tried. */
    readonly check?: (notification: AnyNotification) => unknown
    /** Look on with a private copy that is gone with the consumer. Takes nothing from others. */
    readonly tap?: boolean
    /** Where dead letters are kept. */
    readonly busNames?: BusNames
    /** Pause before the next try, in milliseconds, times the number of tries; at most 30 seconds. */
    readonly retryDelayMs?: number
  }
