/**
 * The port to a message broker, in AMQP's words and oslo.messaging's topology. Two drivers implement it and pass one
 * contract suite: `drivers/memory.ts` (inside one process) and `drivers/rabbit.ts` (the only importer of amqplib).
 */

/** Where a message goes. Queue names follow oslo.messaging: `topic`, `topic.server`, `topic.priority`. */
export type Destination =
  /** Any one server of the topic. */
  | { readonly kind: 'topic'; readonly exchange: string; readonly topic: string }
  /** One server by name. */
  | { readonly kind: 'server'; readonly exchange: string; readonly topic: string; readonly server: string }
  /** Every server of the topic that runs now. */
  | { readonly kind: 'fanout'; readonly topic: string }
  /** A queue by its name: a client's replies. With `durable` the publisher declares it first: dead letters. */
  | { readonly kind: 'queue'; readonly queue: string; readonly durable?: boolean }
  /** Consumers of notifications; the queue is declared first, so nothing is lost before a consumer exists. */
  | { readonly kind: 'notification'; readonly exchange: string; readonly topic: string; readonly priority: string }

/** What a listener consumes. The driver declares it, and declares it again after every reconnect. */
export type Source =
  /** An RPC server: its topic, its own name, and the topic's fanout. */
  | { readonly kind: 'server'; readonly exchange: string; readonly topic: string; readonly server: string }
  /** Only what is sent to a server by name; several listeners of one name share it. */
  | { readonly kind: 'directed'; readonly exchange: string; readonly topic: string; readonly server: string }
  /** A client's own reply queue. */
  | { readonly kind: 'reply'; readonly queue: string }
  /** A durable queue by its name, declared as its publisher does: dead letters. */
  | { readonly kind: 'queue'; readonly queue: string }
  /** The notification queues that compete with other consumers: `topic.priority` for each pair. */
  | {
      readonly kind: 'notifications'
      readonly exchange: string
      readonly topics: readonly string[]
      readonly priorities: readonly string[]
      /** Named pool: its members share one copy of everything (oslo.messaging's listener pools). */
      readonly pool?: string
    }
  /** A private copy of the notifications that is gone with the listener: for looking on. */
  | {
      readonly kind: 'notification-tap'
      readonly exchange: string
      readonly topics: readonly string[]
      readonly priorities: readonly string[]
    }

export interface OutboundMessage {
  /** Already serialised JSON; bytes where something is sent again as it came, whatever it was. */
  readonly body: string | Buffer
  /** JSON's when absent. */
  readonly contentType?: string
  /** Reject with MessageUndeliverable when no queue takes it. */
  readonly mandatory: boolean
  /** The broker drops the message when it waited longer, in milliseconds. */
  readonly expirationMs?: number
  /** Values as AMQP's tables have them: text, numbers, truth values, tables. */
  readonly headers?: Readonly<Record<string, unknown>>
}

/**
 * One message handed to a listener. The first of `ack` and `requeue` settles it; whatever comes later, also after the
 * listener or its connection is gone, does nothing. A listener that is closed gives back what is unsettled.
 */
export interface Delivery {
  /** The queue it came from, where a message can be sent to by its name. */
  readonly queue: string
  readonly body: Buffer
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, unknown>>
  /** The user of the broker who sent it, checked by the broker; undefined when the sender does not say. */
  readonly userId: string | undefined
  /** It came by fanout: nobody else can take it over. */
  readonly fanout: boolean
  /** 1 for the first delivery; counted by the broker where it can (quorum queues), else 2 for any redelivery. */
  readonly deliveryCount: number
  /** False: it is a redelivery, and the broker does not know which. */
  readonly isCounted: boolean
  /** When it was sent, in milliseconds since 1970, to the second; undefined when its sender does not say, as Python's. */
  readonly sentAtMs: number | undefined
  /** How long it may wait in a queue from when it came there, in milliseconds. */
  readonly expirationMs: number | undefined
  /** True once its connection or listener is gone and it was not settled: somebody else gets it. */
  readonly lost?: boolean
  /** @param when `soon`: within moments, together with others; for what nobody would mind to get again until then */
  ack(when?: 'now' | 'soon'): void
  /** Back to the queue, for whoever comes first. */
  requeue(): void
}

/** Must not throw; it settles the delivery, now or later. */
export type DeliveryHandler = (delivery: Delivery) => void

export interface ListenOptions {
  /** Unsettled deliveries at a time from each queue (AMQP prefetch); 0 is no limit. */
  readonly prefetch: number
  /**
   * For messages that are in no hurry, in milliseconds: they may be left in the queue so long, and come together. One by
   * one they cost mostly the waking up. For casts whose order does not matter: each time that a consumer goes, RabbitMQ
   * takes back what it was about to send of a quorum queue, counts it as delivered, and sends it after others. A driver
   * to which waking up costs nothing hands them out at once.
   */
  readonly gatherMs?: number
}

export interface Listener {
  /** No more deliveries; those handed out can still be settled. */
  stop(): Promise<void>
  /** Stops, and gives back what is unsettled. Idempotent. */
  close(): Promise<void>
}

/** What is known of a queue without touching it. */
export interface QueueState {
  /** Messages that wait for a consumer; those being worked on are not among them. */
  readonly messages: number
  readonly consumers: number
}

/** What has become of messages and connections so far; only ever grows. */
export interface TransportCounts {
  /** Connections made after one was lost. */
  readonly reconnects: number
  /** Messages by what the broker made of them. */
  readonly published: Readonly<Record<PublishOutcome, number>>
}

/**
 * `returned`: mandatory, and no queue took it. `refused`: the broker said no (nack, or it closed the
 * channel over the exchange: 403, 404). `lost`: the channel ended before
 * the broker said anything. `not sent`: the channel had ended before.
 */
export type PublishOutcome = 'confirmed' | 'returned' | 'refused' | 'lost' | 'not sent'

export type TransportState = 'connecting' | 'connected' | 'closed'

export interface Transport {
  /** For messages to people: `in-process`, `RabbitMQ 3.10.8 at amqp://host:5672/`. Never has a password. */
  readonly description: string
  readonly state: TransportState
  /** Why the broker takes no messages from us now (`low on memory`); undefined while it does. They wait. */
  readonly blocked: string | undefined
  /** The user of the broker whom our messages are said to be of; undefined when they do not say, or not yet. */
  readonly userId: string | undefined
  readonly counts: TransportCounts
  /**
   * Waits until messages can be consumed, and sent: but not for a broker that takes none now (`blocked`), for whoever
   * would empty its queues must be able to start. What is sent meanwhile waits. Retries by itself.
   * @throws InvalidConfiguration or the signal's reason
   */
  connect(signal: AbortSignal): Promise<void>
  /**
   * Resolves when the broker has taken responsibility (publisher confirm).
   * @param patience its signal ends the wait for a connection: what is not written by then never will be. Read only
   *   when there is something to wait for. A message once written waits for the confirm or the loss of the connection.
   * @throws MessageUndeliverable (mandatory and no queue, or no exchange), TopologyMismatch (we may not write there),
   *   TransportUnavailable (not confirmed: it may have arrived), or the signal's reason
   */
  publish(to: Destination, message: OutboundMessage, patience?: Patience): Promise<void>
  /**
   * Declares what a message to there needs, before there is one: who could not send it learns that when it starts. Is
   * done while the broker takes no messages, too.
   * @throws TopologyMismatch, TransportUnavailable, or the signal's reason
   */
  declare(to: Destination, signal?: AbortSignal): Promise<void>
  /**
   * Declares, consumes, and resolves once messages can arrive; waits for the connection as long as it takes.
   * @throws TopologyMismatch, or TransportUnavailable when the transport is closed meanwhile
   */
  listen(source: Source, handler: DeliveryHandler, options: ListenOptions): Promise<Listener>
  /**
   * Looks at a queue; not slowed down by messages on their way. Waits for the connection as long as it takes.
   * @returns undefined when there is no queue of this name
   * @throws TransportUnavailable, or the signal's reason
   */
  inspect(queue: string, signal?: AbortSignal): Promise<QueueState | undefined>
  /**
   * Asks the broker whether every listener still gets its messages, for a connection may be well and its consumers lost:
   * queues and bindings are declared again, each queue must be there and have a consumer, what waits must come while
   * there is room for it, and a consumer that has had nothing to do is replaced by a new one. A queue that others consume
   * too cannot tell ours from theirs: there the new one is all that mends, and nothing is said.
   * @returns what is wrong, a sentence each
   * @throws the signal's reason
   */
  check(signal: AbortSignal): Promise<readonly string[]>
  /** New connections instead of those that are: everything is declared and consumed again, what is unsettled is lost. */
  reconnect(reason: string): Promise<void>
  /** Closes listeners and the connection. Idempotent. */
  close(): Promise<void>
}

/** @param reason `low on memory` */
export function blockedText(reason: string): string {
  return `the broker takes no messages now (${reason})`
}

/** Anything with a signal: a Deadline makes one only when asked. */
export interface Patience {
  readonly signal: AbortSignal
}

/** One word for logs and tables: the routing key, or what comes nearest. */
export function destinationName(to: Destination): string {
  switch (to.kind) {
    case 'topic':
      return to.topic
    case 'server':
      return `${to.topic}.${to.server}`
    case 'fanout':
      return `${to.topic}_fanout`
    case 'queue':
      return to.queue
    case 'notification':
      return `${to.topic}.${to.priority}`
    default:
      return to satisfies never
  }
}
