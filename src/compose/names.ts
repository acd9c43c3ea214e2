import type { Config } from '../config.ts'
import type { NotificationNames } from '../notifications/notification.ts'
import type { BusNames } from '../rpc/names.ts'
import type { Transport } from '../rpc/transport.ts'

export function busNames({ transport }: Pick<Config, 'transport'>): BusNames {
  return { exchange: transport.exchange, topicPrefix: transport.topic_prefix }
}

export function notificationNames({ notifications }: Pick<Config, 'notifications'>): NotificationNames {
  return { exchange: notifications.exchange, topic: notifications.topic }
}

/**
 * A worker that could not send its notifications does not begin to work. Waits for the broker as long as it takes.
 * @throws TopologyMismatch, TransportUnavailable
 */
export async function declareNotifications(config: Pick<Config, 'notifications'>, transport: Transport): Promise<void> {
  for (const priority of ['info', 'error']) {
    const to = { kind: 'notification', ...notificationNames(config), priority } as const
    await transport.declare(to)
  }
}

/** Whose requests a service takes. */
export function allowedSenders(config: Config, service: 'conductor' | 'scheduler' | 'compute'): readonly string[] {
  return config[service].allowed_senders ?? config.transport.allowed_senders
}
