import type { Api, CallOptions } from './contract.ts'
import type { Destination } from './transport.ts'

/**
 * Names on the bus. oslo.messaging scopes queues and fanouts by topic only, so ours carry a prefix: a vhost shared with
 * Nova must not collide.
 */
export interface BusNames {
  readonly exchange: string
  readonly topicPrefix: string
}

export const DEFAULT_BUS_NAMES: BusNames = { exchange: 'sevbus', topicPrefix: 'sevbus-' }

export function topicOf(names: BusNames, api: Pick<Api, 'service'>): string {
  return `${names.topicPrefix}${api.service}`
}

/** Malformed and hopeless messages are kept here, for a person to look at. */
export function deadLetterQueue(names: BusNames): string {
  return `${names.topicPrefix}dead-letters`
}

export function destinationOf(names: BusNames, api: Api, { server, fanout }: CallOptions): Destination {
  const topic = topicOf(names, api)
  if (fanout) return { kind: 'fanout', topic }
  if (server === undefined) return { kind: 'topic', exchange: names.exchange, topic }
  return { kind: 'server', exchange: names.exchange, topic, server }
}
