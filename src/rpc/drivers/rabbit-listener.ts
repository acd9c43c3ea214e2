import { randomUUID } from 'node:crypto'
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import type { Logger } from 'pino'
import { InvalidConfiguration, TopologyMismatch, TransportUnavailable } from '../../errors.ts'
import { endedWithin, pause } from '../abortable.ts'
import type { Delivery, DeliveryHandler, Listener, Source } from '../transport.ts'
import { Backoff } from './backoff.ts'
import { RabbitAcks } from './rabbit-acks.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import { declareOn } from './rabbit-declare.ts'
import { type DeliveryChannel, RabbitDelivery } from './rabbit-delivery.ts'
import { type Subscription, subscriptionOf, type Topology } from './rabbit-topology.ts'

const CLOSE_TIMEOUT_MS = 2_000

export interface RabbitListenerOptions {
  readonly connection: RabbitConnection
  readonly source: Source
  readonly handler: DeliveryHandler
  readonly prefetch: number
  readonly topology: Topology
  readonly logger: Logger
}

/** Consumes, on a channel of its own, through lost connections, closed channels and deleted queues. */
export class RabbitListener implements Listener {
  readonly #options: RabbitListenerOptions
  readonly #id = newId()
  readonly #stop = new AbortController()
  readonly #backoff = new Backoff()
  #consuming: Consuming | undefined
  #running: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(options: RabbitListenerOptions) {
    this.#options = options
  }

  /** Resolves when messages can arrive. @throws TopologyMismatch, or TransportUnavailable when closed meanwhile */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#running = this.#run(resolve).then(
        () => reject(new TransportUnavailable('the listener was closed before it could listen')),
        reject,
      )
    })
  }

  stop(): Promise<void> {
    this.#stop.abort()
    this.#stopped ??= this.#consuming?.cancel() ?? Promise.resolve()
    return this.#stopped
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.stop()
    await this.#consuming?.close()
    await this.#running
  }

  /** @throws TopologyMismatch of the first declaration; later ones may be mended while we try again */
  async #run(onStarted: () => void): Promise<void> {
    let started = false
    while (!this.#stop.signal.aborted) {
      try {
        const consuming = await this.#open()
        started = true
        onStarted()
        this.#say('consuming was interrupted; beginning again', await consuming.lost)
      } catch (error) {
        const isFinal = isOver(error) || (!started && error instanceof TopologyMismatch)
        if (isFinal && !this.#stop.signal.aborted) throw error
        this.#say('cannot consume now; trying again', error)
      }
      await pause(this.#backoff.nextMs(), this.#stop.signal)
    }
  }

  #say(what: string, thrown: unknown): void {
    if (this.#stop.signal.aborted) return
    const reason = thrown instanceof Error ? thrown.message : thrown
    const level = thrown instanceof TopologyMismatch ? 'error' : 'warn'
    this.#options.logger[level]({ source: this.#options.source, reason }, what)
  }

  async #open(): Promise<Consuming> {
    const { connection, source, topology } = this.#options
    const model = await connection.ready(this.#stop.signal)
    // An exclusive queue of a connection that the broker has not missed yet would be locked under its old name.
    const id = source.kind === 'notification-tap' ? newId() : this.#id
    const consuming = await Consuming.open(model, subscriptionOf(source, topology, id), this.#options)
    this.#consuming = consuming
    if (this.#stop.signal.aborted) await consuming.close()
    return consuming
  }
}

/** One channel with its consumers. */
class Consuming implements DeliveryChannel {
  /** Resolves with the reason when the channel is gone. */
  readonly lost: Promise<string>
  readonly #channel: Channel
  readonly #subscription: Subscription
  readonly acks: RabbitAcks
  readonly #tags: string[] = []
  #reason = 'the connection was lost'
  isOpen = true
  #ended: () => void = () => {}

  private constructor(channel: Channel, subscription: Subscription) {
    this.#channel = channel
    this.#subscription = subscription
    this.acks = new RabbitAcks(channel)
    this.lost = new Promise((resolve) => {
      this.#ended = () => {
        this.isOpen = false
        resolve(this.#reason)
      }
    })
    channel.on('error', (error) => {
      this.#reason = error.message
    })
    channel.on('close', () => this.#ended())
  }

  static async open(
    model: ChannelModel,
    subscription: Subscription,
    { handler, prefetch }: { readonly handler: DeliveryHandler; readonly prefetch: number },
  ): Promise<Consuming> {
    const consuming = new Consuming(await model.createChannel(), subscription)
    try {
      await consuming.#start(handler, prefetch)
      return consuming
    } catch (error) {
      await consuming.#closeChannel()
      throw error
    }
  }

  async #start(handler: DeliveryHandler, prefetch: number): Promise<void> {
    const channel = this.#channel
    await declareOn(channel, this.#subscription.declarations)
    await channel.prefetch(prefetch)
    const { queues, noAck } = this.#subscription
    for (const { name, fanout } of queues) {
      const onMessage = (message: ConsumeMessage | null) => {
        if (message) return handler(this.#delivery(message, fanout, noAck))
        this.#reason = `the broker cancelled the consumer of ${name}: its queue is gone`
        void this.#closeChannel()
      }
      const { consumerTag } = await channel.consume(name, onMessage, { noAck })
      this.#tags.push(consumerTag)
    }
  }

  #delivery(message: ConsumeMessage, fanout: boolean, noAck: boolean): Delivery {
    if (!noAck) this.acks.delivered(message)
    return new RabbitDelivery(message, this, fanout, noAck)
  }

  async cancel(): Promise<void> {
    const cancelled = this.#tags.map((tag) => (this.isOpen ? this.#channel.cancel(tag) : undefined))
    // A broker that does not answer this answers nothing: do not wait again for each thing to tell it.
    if (!(await endedWithin(CLOSE_TIMEOUT_MS, Promise.all(cancelled)))) this.#ended()
  }

  /** The broker gives back what is unsettled when the channel closes. */
  async close(): Promise<void> {
    const { own } = this.#subscription
    if (own !== undefined && this.isOpen) await endedWithin(CLOSE_TIMEOUT_MS, this.#channel.deleteQueue(own))
    await this.#closeChannel()
  }

  async #closeChannel(): Promise<void> {
    if (!this.isOpen) return
    this.acks.flush()
    this.isOpen = false
    await endedWithin(CLOSE_TIMEOUT_MS, this.#channel.close())
    this.#ended()
  }
}

function newId(): string {
  return randomUUID().replaceAll('-', '')
}

/** There will never be a connection. */
function isOver(error: unknown): boolean {
  return error instanceof TransportUnavailable || error instanceof InvalidConfiguration
}
