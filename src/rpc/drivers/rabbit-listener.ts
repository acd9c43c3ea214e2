import { randomUUID } from 'node:crypto'
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import type { Logger } from 'pino'
import { InvalidConfiguration, TopologyMismatch, TransportUnavailable } from '../../errors.ts'
import { endedWithin, pause } from '../abortable.ts'
import { Backoff } from '../backoff.ts'
import type { Delivery, DeliveryHandler, Listener, Source } from '../transport.ts'
import { RabbitAcks } from './rabbit-acks.ts'
import { ANSWER_TIMEOUT_MS, answered, consumeTrouble, NoAnswer, toldByConnection } from './rabbit-answer.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import { type QueueConsumer, RabbitConsumer } from './rabbit-consumer.ts'
import { declareAside, declareOn } from './rabbit-declare.ts'
import { type DeliveryChannel, RabbitDelivery } from './rabbit-delivery.ts'
import { RabbitGatheringConsumer } from './rabbit-gathering-consumer.ts'
import { inspectQueue } from './rabbit-inspect.ts'
import { type Subscription, subscriptionOf, type Topology } from './rabbit-topology.ts'

const CLOSE_TIMEOUT_MS = 2_000
/** Who is asked in the moment when it begins to consume again is given so long. */
const BEGIN_TIMEOUT_MS = 5_000
const BEGIN_POLL_MS = 100
/** After so many questions in a row that the broker did not answer, a new connection may do what a new channel does not. */
const MAX_UNANSWERED = 3

export interface RabbitListenerOptions {
  readonly connection: RabbitConnection
  readonly source: Source
  readonly handler: DeliveryHandler
  readonly prefetch: number
  readonly gatherMs?: number
  /** So long the broker may take for each declaration and each consumer, in milliseconds. */
  readonly answerTimeoutMs?: number | undefined
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
  #trouble = 'it has not begun yet'
  #unanswered = 0

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

  /** Whether messages still come: see the port. @returns what is wrong; nothing without a connection, or when stopped */
  async check(): Promise<readonly string[]> {
    const { connection } = this.#options
    for (let waited = 0; !this.#stop.signal.aborted; waited += BEGIN_POLL_MS) {
      const model = connection.current
      if (model === undefined) return []
      if (this.#consuming?.isOpen) return await this.#consuming.check(model)
      if (waited >= BEGIN_TIMEOUT_MS) return [`it cannot consume: ${this.#trouble}`]
      await pause(BEGIN_POLL_MS, this.#stop.signal)
    }
    return []
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
      let openedAt = Number.POSITIVE_INFINITY
      try {
        const consuming = await this.#open()
        this.#unanswered = 0
        openedAt = performance.now()
        started = true
        onStarted()
        this.#say('consuming was interrupted; beginning again', await consuming.lost)
      } catch (error) {
        const isFinal = isOver(error) || (!started && error instanceof TopologyMismatch)
        if (isFinal && !this.#stop.signal.aborted) throw error
        this.#say('cannot consume now; trying again', error)
        await this.#heed(error)
      }
      await pause(this.#backoff.nextMs(performance.now() - openedAt), this.#stop.signal)
    }
  }

  /** A channel is anew at each try; a connection, which others share, only when that does not help. */
  async #heed(error: unknown): Promise<void> {
    this.#unanswered = error instanceof NoAnswer ? this.#unanswered + 1 : 0
    if (this.#unanswered < MAX_UNANSWERED) return
    this.#unanswered = 0
    await this.#options.connection.reconnect((error as NoAnswer).message)
  }

  #say(what: string, thrown: unknown): void {
    if (this.#stop.signal.aborted) return
    const reason = thrown instanceof Error ? thrown.message : String(thrown)
    this.#trouble = reason
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
  readonly #consumers: QueueConsumer[] = []
  readonly #prefetch: number
  #reason = 'the connection was lost'
  isOpen = true
  #ended: () => void = () => {}

  private constructor(channel: Channel, subscription: Subscription, prefetch: number) {
    this.#channel = channel
    this.#subscription = subscription
    this.#prefetch = prefetch
    this.acks = new RabbitAcks(channel, prefetch)
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
    options: Pick<RabbitListenerOptions, 'handler' | 'prefetch' | 'gatherMs' | 'answerTimeoutMs'>,
  ): Promise<Consuming> {
    const channel = await answered('opening a channel', model.createChannel(), options.answerTimeoutMs)
    const consuming = new Consuming(channel, subscription, options.prefetch)
    try {
      await consuming.#start(options)
      return consuming
    } catch (error) {
      await consuming.#closeChannel()
      throw error
    }
  }

  async #start({
    handler,
    gatherMs,
    answerTimeoutMs = ANSWER_TIMEOUT_MS,
  }: Pick<RabbitListenerOptions, 'handler' | 'gatherMs' | 'answerTimeoutMs'>): Promise<void> {
    const channel = this.#channel
    await declareOn(channel, this.#subscription.declarations, answerTimeoutMs)
    await answered('setting the prefetch', channel.prefetch(this.#prefetch), answerTimeoutMs)
    const { queues, noAck } = this.#subscription
    for (const { name, fanout } of queues) {
      const onMessage = (message: ConsumeMessage | null) => {
        if (message) return handler(this.#delivery(message, name, fanout))
        this.#reason = `the broker cancelled the consumer of ${name}: its queue is gone`
        void this.#closeChannel()
      }
      const consumer =
        gatherMs === undefined
          ? new RabbitConsumer(channel, name, noAck, onMessage)
          : new RabbitGatheringConsumer(channel, name, onMessage, { gatherMs, onTaken: this.acks.flush })
      const begun = toldByConnection(channel, () => consumer.consume()).catch((error: unknown) => {
        throw consumeTrouble(name, error)
      })
      await answered(`consuming from ${name}`, begun, answerTimeoutMs)
      this.#consumers.push(consumer)
    }
  }

  /** @param model its connection, where this is asked on channels aside: some answers close them */
  async check(model: ChannelModel): Promise<readonly string[]> {
    const troubles: string[] = []
    try {
      await declareAside(model, this.#subscription.declarations)
      for (const consumer of this.#consumers) {
        const state = (await inspectQueue(model, consumer.queue)) ?? { messages: 0, consumers: 0 }
        const { unsettled } = this.acks
        const { trouble, isQuiet } = consumer.judge(state, this.#prefetch === 0 || unsettled < this.#prefetch)
        if (trouble !== undefined) troubles.push(trouble)
        // With something unsettled the new one would be given as much again, beyond the prefetch.
        else if (isQuiet && unsettled === 0 && this.isOpen) await consumer.renew()
      }
    } catch (error) {
      troubles.push((error as Error).message)
    }
    return troubles
  }

  #delivery(message: ConsumeMessage, queue: string, fanout: boolean): Delivery {
    const { noAck } = this.#subscription
    if (!noAck) this.acks.delivered(message)
    return new RabbitDelivery(message, this, queue, fanout, noAck)
  }

  async cancel(): Promise<void> {
    const cancelled = this.#consumers.map((consumer) => (this.isOpen ? consumer.cancel() : undefined))
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
