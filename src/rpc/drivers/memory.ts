import { randomUUID } from 'node:crypto'
import { MessageUndeliverable, TransportUnavailable } from '../../errors.ts'
import { CONTENT_TYPE } from '../envelope.ts'
import {
  type DeliveryHandler,
  type Destination,
  destinationName,
  type Listener,
  type ListenOptions,
  type OutboundMessage,
  type QueueState,
  type Source,
  type Transport,
  type TransportCounts,
  type TransportState,
} from '../transport.ts'
import { MemoryConsumer, MemoryQueue } from './memory-queue.ts'

/**
 * A broker inside one process, with the queues and names it would have on RabbitMQ: what is sent is bytes, what is not
 * settled comes back, and a queue keeps its messages while nobody consumes. What it lacks is a disk.
 */
export class MemoryBus {
  readonly #queues = new Map<string, MemoryQueue>()
  /** Names of the queues bound to an exchange and routing key. */
  readonly #bindings = new Map<string, Set<string>>()

  /**
   * A connection of its own: closing it closes its listeners and leaves the others.
   * @param userId who its messages are said to be of; undefined says nothing
   */
  connect({ userId }: { readonly userId: string | undefined } = { userId: 'guest' }): Transport {
    return new MemoryTransport(this, userId)
  }

  declare(name: string): MemoryQueue {
    const queue = this.#queues.get(name) ?? new MemoryQueue(name)
    this.#queues.set(name, queue)
    return queue
  }

  bind(queue: string, exchange: string, routingKey: string): void {
    const key = bindingKey(exchange, routingKey)
    const bound = this.#bindings.get(key) ?? new Set()
    this.#bindings.set(key, bound.add(queue))
  }

  find(name: string): MemoryQueue | undefined {
    return this.#queues.get(name)
  }

  delete(name: string): void {
    this.#queues.delete(name)
    for (const [key, bound] of this.#bindings) {
      if (bound.delete(name) && bound.size === 0) this.#bindings.delete(key)
    }
  }

  /** The queues that take a message; the nameless exchange leads to the queue of that name, as in AMQP. */
  route(exchange: string, routingKey: string): readonly MemoryQueue[] {
    const names = exchange === '' ? [routingKey] : (this.#bindings.get(bindingKey(exchange, routingKey)) ?? [])
    return [...names].flatMap((name) => this.#queues.get(name) ?? [])
  }
}

function bindingKey(exchange: string, routingKey: string): string {
  return JSON.stringify([exchange, routingKey])
}

interface MemoryListener extends Listener {
  /** Declares and consumes again, under the same names. */
  restart(): void
  /** What it no longer gets messages from, a sentence each. */
  lost(): readonly string[]
}

class MemoryTransport implements Transport {
  readonly description = 'in-process bus'
  readonly #bus: MemoryBus
  readonly userId: string | undefined
  readonly blocked = undefined
  readonly #listeners = new Set<MemoryListener>()
  readonly #published = { confirmed: 0, returned: 0, refused: 0, lost: 0, 'not sent': 0 }
  #closed = false

  constructor(bus: MemoryBus, userId: string | undefined) {
    this.#bus = bus
    this.userId = userId
  }

  get state(): TransportState {
    return this.#closed ? 'closed' : 'connected'
  }

  get counts(): TransportCounts {
    return { reconnects: 0, published: this.#published }
  }

  async connect(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.#throwIfClosed()
  }

  async publish(to: Destination, message: OutboundMessage): Promise<void> {
    this.#throwIfClosed()
    const queues = this.#route(to)
    if (queues.length === 0 && message.mandatory) {
      this.#published.returned++
      const destination = destinationName(to)
      throw new MessageUndeliverable(`no queue takes a message to ${destination}`, { destination })
    }
    const { body, contentType = CONTENT_TYPE, headers = {}, expirationMs } = message
    const stored = {
      body: Buffer.from(body),
      contentType,
      headers: { ...headers },
      userId: this.userId,
      sentAtMs: Math.floor(Date.now() / 1000) * 1000,
      expirationMs,
      expiresAt: performance.now() + (expirationMs ?? Number.POSITIVE_INFINITY),
    }
    for (const queue of queues) queue.push(stored)
    this.#published.confirmed++
  }

  async declare(to: Destination, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#throwIfClosed()
    this.#route(to)
  }

  async listen(source: Source, handler: DeliveryHandler, { prefetch }: ListenOptions): Promise<Listener> {
    this.#throwIfClosed()
    const id = hex()
    const consume = () => {
      const { queues, own, fanout } = this.#declare(source, id)
      const consumers = queues.map(
        (queue) => new MemoryConsumer({ queue, handler, prefetch, fanout: queue === fanout }),
      )
      return { queues, own, consumers }
    }
    let consuming = consume()
    let isStopped = false
    const listener = {
      restart: () => {
        for (const consumer of consuming.consumers) consumer.close()
        if (!isStopped) consuming = consume()
      },
      lost: () => {
        const gone = isStopped ? [] : consuming.queues.filter((queue) => this.#bus.find(queue.name) !== queue)
        return gone.map(({ name }) => `the queue ${name} has no consumer any more`)
      },
      stop: async () => {
        isStopped = true
        for (const consumer of consuming.consumers) consumer.stop()
      },
      close: async () => {
        this.#listeners.delete(listener)
        for (const consumer of consuming.consumers) consumer.close()
        if (consuming.own) this.#bus.delete(consuming.own.name)
      },
    }
    this.#listeners.add(listener)
    return listener
  }

  async inspect(queue: string, signal?: AbortSignal): Promise<QueueState | undefined> {
    signal?.throwIfAborted()
    this.#throwIfClosed()
    return this.#bus.find(queue)?.state
  }

  async check(signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted()
    this.#throwIfClosed()
    return [...this.#listeners].flatMap((listener) => listener.lost())
  }

  async reconnect(): Promise<void> {
    this.#throwIfClosed()
    for (const listener of this.#listeners) listener.restart()
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new TransportUnavailable('the transport is closed')
  }

  #route(to: Destination): readonly MemoryQueue[] {
    switch (to.kind) {
      case 'topic':
      case 'server':
        return this.#bus.route(to.exchange, destinationName(to))
      case 'fanout':
        return this.#bus.route(destinationName(to), '')
      case 'queue':
        return to.durable ? [this.#bus.declare(to.queue)] : this.#bus.route('', to.queue)
      case 'notification':
        this.#bound(destinationName(to), to.exchange, [destinationName(to)])
        return this.#bus.route(to.exchange, destinationName(to))
      default:
        return to satisfies never
    }
  }

  /** @returns the queues to consume, and which of them is gone with the listener, and which brings fanouts */
  #declare(source: Source, id: string): { queues: MemoryQueue[]; own?: MemoryQueue; fanout?: MemoryQueue } {
    switch (source.kind) {
      case 'server': {
        const { exchange, topic, server } = source
        const fanout = this.#bound(`${topic}_fanout_${id}`, `${topic}_fanout`, [''])
        const shared = this.#bound(topic, exchange, [topic])
        const directed = this.#bound(`${topic}.${server}`, exchange, [`${topic}.${server}`])
        return { queues: [shared, directed, fanout], own: fanout, fanout }
      }
      case 'directed': {
        const name = `${source.topic}.${source.server}`
        return { queues: [this.#bound(name, source.exchange, [name])] }
      }
      case 'reply': {
        const queue = this.#bus.declare(source.queue)
        return { queues: [queue], own: queue }
      }
      case 'queue':
        return { queues: [this.#bus.declare(source.queue)] }
      case 'notifications': {
        const keys = notificationKeys(source)
        if (source.pool !== undefined) return { queues: [this.#bound(source.pool, source.exchange, keys)] }
        return { queues: keys.map((key) => this.#bound(key, source.exchange, [key])) }
      }
      case 'notification-tap': {
        const tap = this.#bound(`tap_${id}`, source.exchange, notificationKeys(source))
        return { queues: [tap], own: tap }
      }
      default:
        return source satisfies never
    }
  }

  #bound(name: string, exchange: string, routingKeys: readonly string[]): MemoryQueue {
    const queue = this.#bus.declare(name)
    for (const key of routingKeys) this.#bus.bind(name, exchange, key)
    return queue
  }
}

function notificationKeys(source: { readonly topics: readonly string[]; readonly priorities: readonly string[] }) {
  return source.topics.flatMap((topic) => source.priorities.map((priority) => `${topic}.${priority}`))
}

function hex(): string {
  return randomUUID().replaceAll('-', '')
}
