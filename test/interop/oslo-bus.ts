import { inject, vi } from 'vitest'
import '../servers/provided-context.ts'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import type { NotificationHandling, NotificationSelection } from '../../src/notifications/consumer-options.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import type { Api } from '../../src/rpc/contract.ts'
import type { Binding } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import type { TopologyName } from '../../src/rpc/drivers/rabbit-topology.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Transport } from '../../src/rpc/transport.ts'
import { onChannel } from '../support/raw-channel.ts'
import { freshNames, MadeOnBroker, silent } from '../support/transports.ts'

/** Our topologies, with the options by which oslo.messaging declares the same. */
export const TOPOLOGIES: readonly { readonly topology: TopologyName; readonly options: string }[] = [
  { topology: 'quorum', options: 'rabbit_quorum_queue=1' },
  { topology: 'classic-durable', options: 'amqp_durable_queues=1' },
  { topology: 'oslo-default', options: '' },
]

/** A part of the broker that is shared with Python peers, under names of the test's own. */
export class OsloBus implements AsyncDisposable {
  readonly names = freshNames()
  readonly #topology: TopologyName
  readonly #options: string
  readonly #made = new MadeOnBroker(inject('amqpUrl'))
  readonly #opened: (() => Promise<void>)[] = []

  constructor({ topology, options }: (typeof TOPOLOGIES)[number]) {
    this.#topology = topology
    this.#options = options
  }

  /** For both sides: oslo.messaging's URL, with its options. */
  url(...more: readonly string[]): string {
    const url = new URL(inject('amqpUrl').replace(/^amqp:/, 'http:'))
    const query = [this.#options, ...more].filter((option) => option !== '').join('&')
    return `rabbit://${url.username}:${url.password}@${url.host}${url.pathname}?${query}`
  }

  topic(service: string): string {
    return topicOf(this.names, { service })
  }

  /** One more process of ours. */
  async connect(): Promise<Transport> {
    const transport = new RabbitTransport({ url: this.url(), topology: this.#topology, logger: silent })
    this.#opened.push(() => transport.close())
    await transport.connect(AbortSignal.timeout(20_000))
    return this.#made.record(transport)
  }

  /** A server of ours, in a process of its own as far as the broker can see. */
  async serve(server: string, ...bindings: [Binding, ...Binding[]]): Promise<{ readonly transport: Transport }> {
    const transport = await this.connect()
    const serving = new RpcServer({ transport, logger: silent, names: this.names, server, bindings, retryDelayMs: 1 })
    await serving.start()
    this.#opened.push(() => serving.drain(1_000))
    return { transport }
  }

  /** A client of ours, and the name of its reply queue, which it makes with its first call. */
  async client(): Promise<{ readonly client: RpcClient; readonly replyQueue: () => string | undefined }> {
    const made = new MadeOnBroker(inject('amqpUrl'))
    const transport = made.record(await this.connect())
    const client = new RpcClient({ transport, logger: silent, names: this.names, timeoutMs: 15_000 })
    this.#opened.push(() => client.close())
    return { client, replyQueue: () => made.queues.find((queue) => queue.startsWith('reply_')) }
  }

  /** A consumer of ours. */
  async consume(options: NotificationHandling & NotificationSelection & { readonly topic: string }): Promise<void> {
    const { exchange } = this.names
    const names = { exchange, topic: options.topic }
    const broker = { transport: await this.connect(), busNames: this.names }
    const consumer = new NotificationConsumer({ ...options, ...broker, logger: silent, names, retryDelayMs: 50 })
    await consumer.start()
    this.#opened.push(() => consumer.close())
  }

  /** What a Python server declares is removed, too. */
  peerServes(api: Pick<Api, 'service'>, server: string): { exchange: string; topic: string; server: string } {
    const place = { exchange: this.names.exchange, topic: topicOf(this.names, api), server }
    this.#made.listened({ kind: 'server', ...place })
    return place
  }

  /** The same for its notifications. */
  peerNotifies(topic: string, priorities: readonly string[], pool?: string): void {
    const places = { exchange: this.names.exchange, topics: [topic], priorities }
    this.#made.listened({ kind: 'notifications', ...places, ...(pool !== undefined && { pool }) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#opened.toReversed()) await close()
    this.#made.listened({ kind: 'queue', queue: deadLetterQueue(this.names) })
    await this.#made.remove()
  }
}

/** Deletes queues behind the backs of those who consume them. */
export async function deleteQueues(queues: readonly string[]): Promise<void> {
  await onChannel(inject('amqpUrl'), async (channel) => {
    for (const queue of queues) await channel.deleteQueue(queue)
  })
}

/** Waits for a state, on a machine that may be busy. */
export function eventually<T>(look: () => T): Promise<T> {
  return vi.waitFor(look, { timeout: 20_000, interval: 20 })
}
