import { pino } from 'pino'
import { NotificationConsumer } from './notifications/consumer.ts'
import type { NotificationHandling, NotificationSelection } from './notifications/consumer-options.ts'
import { DEFAULT_NOTIFICATION_NAMES } from './notifications/notification.ts'
import { connectBefore } from './rpc/connect-before.ts'
import type { BrokerOptions } from './rpc/drivers/broker-settings.ts'
import { RabbitTransport } from './rpc/drivers/rabbit.ts'

export {
  AnyNotification,
  NOTIFICATION_PRIORITIES,
  Notification,
  type NotificationPriority,
  type SevbusExtension,
} from './notifications/notification.ts'
export {
  FlavorPayload,
  InstanceActionPayload,
  InstanceActionRebuildPayload,
  InstanceCreatePayload,
} from './notifications/payloads.ts'
export { ComputeTaskPayload } from './notifications/request-payloads.ts'

/** Where the broker is, TLS, and what is declared there: as the workers are configured in [transport]. */
export type ConsumeOptions = BrokerOptions &
  NotificationHandling &
  NotificationSelection & {
    /** As the workers are configured: notifications.exchange and notifications.topic. */
    readonly exchange?: string
    readonly topic?: string
    /** Stops waiting for the broker; without it, that is after 30 s. */
    readonly signal?: AbortSignal
  }

export interface Consumption extends AsyncDisposable {
  /** Finishes the one being handled and stops. */
  close(): Promise<void>
}

/**
 * Reads notifications until closed; reconnects by itself. Versioned ones, ours and Nova's, unless `payload` is `any`.
 *
 * @throws TransportUnavailable when the broker was not there in time, the signal's reason when it is no timeout,
 *   TopologyMismatch, InvalidConfiguration
 * @example
 * await using billing = await consumeNotifications({ url, pool: 'billing', onNotification: async ({ payload }) => { … } })
 */
export async function consumeNotifications(options: ConsumeOptions): Promise<Consumption> {
  const { signal = AbortSignal.timeout(30_000) } = options
  const { exchange = DEFAULT_NOTIFICATION_NAMES.exchange, topic = DEFAULT_NOTIFICATION_NAMES.topic } = options
  const logger = pino({ level: 'silent' })
  let reason: string | undefined
  const onWaiting = (why: string) => {
    reason = why
  }
  const connectionName = 'sevbus notification consumer'
  const transport = new RabbitTransport({ ...options, logger, connectionName, onWaiting })
  const consumer = new NotificationConsumer({ ...options, transport, logger, names: { exchange, topic } })
  const close = async () => {
    await consumer.close()
    await transport.close()
  }
  try {
    const fix = 'check the url given to consumeNotifications()'
    await connectBefore(transport, { signal, reason: () => reason, fix })
    await consumer.start()
  } catch (error) {
    await close()
    throw error
  }
  return { close, [Symbol.asyncDispose]: close }
}
