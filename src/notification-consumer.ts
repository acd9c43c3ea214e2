import { pino } from 'pino'
import { NotificationConsumer } from './notifications/consumer.ts'
import { DEFAULT_NOTIFICATION_NAMES, type Notification } from './notifications/notification.ts'
import type { BrokerOptions } from './rpc/drivers/broker-settings.ts'
import { RabbitTransport } from './rpc/drivers/rabbit.ts'

export { Notification, type SevbusExtension } from './notifications/notification.ts'
export {
  ComputeTaskPayload,
  FlavorPayload,
  InstanceActionPayload,
  InstanceCreatePayload,
} from './notifications/payloads.ts'

/** Where the broker is, TLS, and what is declared there: as the workers are configured in [transport]. */
export interface ConsumeOptions extends BrokerOptions {
  /** As the workers are configured: notifications.exchange and notifications.topic. */
  readonly exchange?: string
  readonly topic?: string
  readonly priorities?: readonly string[]
  /** Consumers of one pool share one copy of everything. Without it: the default queues, shared with all who use them. */
  readonly pool?: string
  /**
   * One at a time. Acknowledged when it resolves, offered again until it does, after pauses that grow to 30 seconds:
   * store first, then return. After a crash the last ones come again with the same message_id.
   *
   * Order holds per queue, that is per priority: not between `.info` and `.error`.
   */
  readonly onNotification: (notification: Notification) => Promise<void>
  /** After so many failed tries a notification is parked as a dead letter; without it, never. */
  readonly maxTries?: number
  /** Users of the broker whose notifications are taken, the others are parked; without any, everyone's. */
  readonly allowedSenders?: readonly string[]
  /** Stops waiting for the broker. */
  readonly signal?: AbortSignal
}

export interface Consumption extends AsyncDisposable {
  /** Finishes the one being handled and stops. */
  close(): Promise<void>
}

/**
 * Reads versioned notifications, ours and Nova's, until closed; reconnects by itself.
 *
 * @example
 * await using billing = await consumeNotifications({ url, pool: 'billing', onNotification: async ({ payload }) => { … } })
 */
export async function consumeNotifications(options: ConsumeOptions): Promise<Consumption> {
  const { exchange, topic, priorities, pool, onNotification, maxTries, allowedSenders, ...rest } = options
  const { signal = AbortSignal.timeout(30_000), ...broker } = rest
  const names = {
    exchange: exchange ?? DEFAULT_NOTIFICATION_NAMES.exchange,
    topic: topic ?? DEFAULT_NOTIFICATION_NAMES.topic,
  }
  const logger = pino({ level: 'silent' })
  // It sends nothing but dead letters; a user who may only read would be refused the question who it is.
  const transport = new RabbitTransport({
    sendUserId: false,
    ...broker,
    logger,
    connectionName: 'sevbus notification consumer',
  })
  const consumer = new NotificationConsumer({
    transport,
    logger,
    names,
    onNotification,
    ...(pool !== undefined && { pool }),
    ...(priorities && { priorities }),
    ...(maxTries !== undefined && { maxTries }),
    ...(allowedSenders && { allowedSenders }),
  })
  const close = async () => {
    await consumer.close()
    await transport.close()
  }
  try {
    await transport.connect(signal)
    await consumer.start()
  } catch (error) {
    await close()
    throw error
  }
  return { close, [Symbol.asyncDispose]: close }
}
