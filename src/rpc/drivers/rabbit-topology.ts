import { type Destination, destinationName, type Source } from '../transport.ts'

/** In oslo.messaging's words: `rabbit_quorum_queue`, `amqp_durable_queues`, and neither. */
export type TopologyName = 'quorum' | 'classic-durable' | 'oslo-default'

/** How shared queues are declared; every worker on a vhost, Python's too, must use the same one. */
export interface Topology {
  readonly name: TopologyName
  /** Of shared quorum queues, beside their type. */
  readonly quorumArguments: Readonly<Record<string, number>>
  /** oslo.messaging's `rabbit_transient_quorum_queue`: fanout exchanges are durable, queues of one process quorum. */
  readonly transientQuorumQueues: boolean
  /** oslo.messaging's `rabbit_transient_queues_ttl`: so long unused, a queue of one process is left over. */
  readonly unusedQueueTtlSeconds: number
}

export const DEFAULT_UNUSED_QUEUE_TTL_SECONDS = 1800

/** A topology with nothing beside its name, as most are. */
export function topologyNamed(name: TopologyName): Topology {
  const unusedQueueTtlSeconds = DEFAULT_UNUSED_QUEUE_TTL_SECONDS
  return { name, quorumArguments: {}, transientQuorumQueues: false, unusedQueueTtlSeconds }
}

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

/**
 * RabbitMQ 4 drops a message of a quorum queue when it comes back for the 20th time, and who lists dead letters gives
 * them back. The largest limit that is an AMQP integer, and not -1: that is none in RabbitMQ 4, but 0 in RabbitMQ 3.
 */
export const KEPT_DELIVERY_LIMIT = 2_147_483_647

/** What a publisher declares, as oslo.messaging's: exchanges always, queues only where nothing may be lost. */
export function routeOf(to: Destination, topology: Topology): Route {
  const routingKey = destinationName(to)
  switch (to.kind) {
    case 'topic':
    case 'server':
      return { exchange: to.exchange, routingKey, declarations: [topicExchange(to.exchange, topology)] }
    case 'fanout':
      return { exchange: routingKey, routingKey: '', declarations: [fanoutExchange(to.topic, topology)] }
    case 'queue':
      return { exchange: '', routingKey, declarations: to.durable ? [keptQueue(to.queue, topology)] : [] }
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
          fanoutExchange(topic, topology),
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
    case 'directed': {
      const name = `${source.topic}.${source.server}`
      return { ...consuming(boundQueue(name, source.exchange, topology), name), own: undefined }
    }
    case 'reply':
      return { ...consuming([ownQueue(source.queue, topology)], source.queue), noAck: true }
    case 'queue':
      return { ...consuming([keptQueue(source.queue, topology)], source.queue), own: undefined }
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
  return { kind: 'exchange', name, type: 'topic', durable: topology.name !== 'oslo-default', autoDelete: false }
}

/** Not touched by `rabbit_quorum_queue`: transient in every topology, unless the queues bound to it are quorum, too. */
function fanoutExchange(topic: string, { transientQuorumQueues }: Topology): ExchangeDeclaration {
  return { kind: 'exchange', name: `${topic}_fanout`, type: 'fanout', durable: transientQuorumQueues, autoDelete: true }
}

function sharedQueue(name: string, { name: topology, quorumArguments }: Topology): QueueDeclaration {
  const isQuorum = topology === 'quorum'
  const queueArguments = isQuorum ? { 'x-queue-type': 'quorum', ...quorumArguments } : {}
  return queue(name, topology !== 'oslo-default', queueArguments)
}

/**
 * Fanouts and replies of one process. Nobody else declares them, so they are durable where Python's are not: RabbitMQ
 * 4.3 refuses queues that are neither durable nor exclusive.
 */
function ownQueue(name: string, { transientQuorumQueues, unusedQueueTtlSeconds }: Topology): QueueDeclaration {
  const type = transientQuorumQueues ? { 'x-queue-type': 'quorum' } : {}
  return queue(name, true, { ...type, 'x-expires': unusedQueueTtlSeconds * 1000 })
}

/** Dead letters outlive the broker whatever the others do: they wait for a person. */
function keptQueue(name: string, { name: topology }: Topology): QueueDeclaration {
  const isQuorum = topology === 'quorum'
  return queue(name, true, isQuorum ? { 'x-queue-type': 'quorum', 'x-delivery-limit': KEPT_DELIVERY_LIMIT } : {})
}

function queue(name: string, durable: boolean, queueArguments: QueueDeclaration['arguments']): QueueDeclaration {
  return { kind: 'queue', name, durable, exclusive: false, autoDelete: false, arguments: queueArguments }
}
