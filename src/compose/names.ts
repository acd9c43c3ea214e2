import type { Config } from '../config.ts'
import type { NotificationNames } from '../notifications/notification.ts'
import type { BusNames } from '../rpc/names.ts'

export function busNames({ transport }: Pick<Config, 'transport'>): BusNames {
  return { exchange: transport.exchange, topicPrefix: transport.topic_prefix }
}

export function notificationNames({ notifications }: Pick<Config, 'notifications'>): NotificationNames {
  return { exchange: notifications.exchange, topic: notifications.topic }
}

/** Whose requests a service takes. */
export function allowedSenders(config: Config, service: 'conductor' | 'scheduler' | 'compute'): readonly string[] {
  return config[service].allowed_senders ?? config.transport.allowed_senders
}
