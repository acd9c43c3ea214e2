import { type Destination, destinationName, type Source } from '../transport.ts'

/**
 * How shared queues are declared; every worker on a vhost, Python's too, must use the same one. In oslo.messaging's
 * words: `rabbit_quorum_queue`, `amqp_durable_queues`, and neither.
 */
export type Topology = 'quorum' | 'classic-durable' | 'oslo-default'

export interface ExchangeDeclaration {
  readonly kind: 'exchange'
  readonly name: string
  readonly type: 'topic' | 'fanout'
  readonly durable: boolean
  readonly autoDelete: boolean
}

export interface QueueDeclaration {
  readonly kind: 'queue'
  readonly name: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
  readonly arguments: Readonly<Record<string, string | number>>
}

export interface BindingDeclaration {
  readonly kind: 'binding'
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
}

export type Declaration = ExchangeDeclaration | QueueDeclaration | BindingDeclaration

/** How a message gets to its destination. */
export interface Route {
  readonly exchange: string
  readonly routingKey: string
  /** To be declared before the first message. */
  readonly declarations: readonly Declaration[]
}

/** What a listener declares and consumes. */
export interface Subscription {
  readonly declarations: readonly Declaration[]
  readonly queues: readonly { readonly name: string; readonly fanout: boolean }[]
  /** Only this listener's: deleted when it is closed. */
  readonly own: string | undefined
  /** The broker forgets a message when it has sent it: who reads it would acknowledge it unread. */
  readonly noAck: boolean
}

/** oslo.messaging's `rabbit_transient_queues_ttl`: after half an hour unused, a queue of one process is left over. */
const UNUSED_QUEUE_EXPIRES_MS = 1_800_000

/** What a publisher declares, as oslo.messaging's: exchanges always, queues only where nothing may be lost. */
export function routeOf(to: Destination, topology: Topology): Route {
  const routingKey = destinationName(to)
  switch (to.kind) {
    case 'topic':
    case 'server':
      return { exchange: to.exchange, routingKey, declarations: [topicExchange(to.exchange, topology)] }
    case 'fanout':
      return { exchange: routingKey, routingKey: '', declarations: [fanoutExchange(to.topic)] }
    case 'queue':
      return { exchange: '', routingKey, declarations: to.durable ? [sharedQueue(to.queue, durably(topology))] : [] }
    case 'notification':
      return { exchange: to.exchange, routingKey, declarations: boundQueue(routingKey, to.exchange, topology) }
    default:
      return to satisfies never
  }
}

/** @param id 32 hex digits, kept for the listener's life: its queues come back under the same names */
export function subscriptionOf(source: Source, topology: Topology, id: string): Subscription {
  switch (source.kind) {
    case 'server': {
      const { exchange, topic, server } = source
      const directed = `${topic}.${server}`
      const fanout = `${topic}_fanout_${id}`
      return {
        declarations: [
          ...boundQueue(topic, exchange, topology),
          ...boundQueue(directed, exchange, topology),
          fanoutExchange(topic),
          ownQueue(fanout, topology),
          { kind: 'binding', queue: fanout, exchange: `${topic}_fanout`, routingKey: topic },
        ],
        queues: [
          { name: topic, fanout: false },
          { name: directed, fanout: false },
          { name: fanout, fanout: true },
        ],
        own: fanout,
        noAck: false,
      }
    }
    case 'reply':
      return { ...consuming([ownQueue(source.queue, topology)], source.queue), noAck: true }
    case 'queue':
      return { ...consuming([sharedQueue(source.queue, durably(topology))], source.queue), own: undefined }
    case 'notifications': {
      const { exchange, pool } = source
      const keys = notificationKeys(source)
      if (pool === undefined) {
        const declarations = keys.flatMap((key) => boundQueue(key, exchange, topology))
        return { declarations, queues: keys.map((name) => ({ name, fanout: false })), own: undefined, noAck: false }
      }
      const bindings = keys.map((routingKey) => ({ kind: 'binding', queue: pool, exchange, routingKey }) as const)
      const declarations = [topicExchange(exchange, topology), sharedQueue(pool, topology), ...bindings]
      return { ...consuming(declarations, pool), own: undefined }
    }
    case 'notification-tap': {
      const { exchange } = source
      const queue = `tap_${id}`
      const tap: QueueDeclaration = {
        kind: 'queue',
        name: queue,
        durable: false,
        exclusive: true,
        autoDelete: true,
        arguments: {},
      }
      const bindings = notificationKeys(source).map(
        (routingKey) => ({ kind: 'binding', queue, exchange, routingKey }) as const,
      )
      return consuming([topicExchange(exchange, topology), tap, ...bindings], queue)
    }
    default:
      return source satisfies never
  }
}

function consuming(declarations: readonly Declaration[], name: string): Subscription {
  return { declarations, queues: [{ name, fanout: false }], own: name, noAck: false }
}

function notificationKeys(source: { readonly topics: readonly string[]; readonly priorities: readonly string[] }) {
  return source.topics.flatMap((topic) => source.priorities.map((priority) => `${topic}.${priority}`))
}

function boundQueue(queue: string, exchange: string, topology: Topology): readonly Declaration[] {
  return [
    topicExchange(exchange, topology),
    sharedQueue(queue, topology),
    { kind: 'binding', queue, exchange, routingKey: queue },
  ]
}

function topicExchange(name: string, topology: Topology): ExchangeDeclaration {
  return { kind: 'exchange', name, type: 'topic', durable: topology !== 'oslo-default', autoDelete: false }
}

/** Transient in every topology: of oslo.messaging's options, `rabbit_quorum_queue` does not touch it. */
function fanoutExchange(topic: string): ExchangeDeclaration {
  return { kind: 'exchange', name: `${topic}_fanout`, type: 'fanout', durable: false, autoDelete: true }
}

function sharedQueue(name: string, topology: Topology): QueueDeclaration {
  return {
    kind: 'queue',
    name,
    durable: topology !== 'oslo-default',
    exclusive: false,
    autoDelete: false,
    arguments: topology === 'quorum' ? { 'x-queue-type': 'quorum' } : {},
  }
}

/**
 * Fanouts and replies of one process. Nobody else declares them, so they may be durable where Python's are not:
 * RabbitMQ 4 deprecates queues that are neither durable nor exclusive.
 */
function ownQueue(name: string, topology: Topology): QueueDeclaration {
  return {
    kind: 'queue',
    name,
    durable: topology !== 'oslo-default',
    exclusive: false,
    autoDelete: false,
    arguments: { 'x-expires': UNUSED_QUEUE_EXPIRES_MS },
  }
}

/** Dead letters outlive the broker whatever the others do: they wait for a person. */
function durably(topology: Topology): Topology {
  return topology === 'oslo-default' ? 'classic-durable' : topology
}
