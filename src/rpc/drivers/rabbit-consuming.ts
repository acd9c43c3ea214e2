import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import { endedWithin } from '../abortable.ts'
import type { Delivery, DeliveryHandler } from '../transport.ts'
import { RabbitAcks } from './rabbit-acks.ts'
import {
  type AnswerLimits,
  answered,
  consumeTrouble,
  openChannel,
  throwAway,
  toldByConnection,
} from './rabbit-answer.ts'
import { type QueueConsumer, RabbitConsumer } from './rabbit-consumer.ts'
import { declareAside, declareOn } from './rabbit-declare.ts'
import { type DeliveryChannel, RabbitDelivery } from './rabbit-delivery.ts'
import { RabbitGatheringConsumer } from './rabbit-gathering-consumer.ts'
import { inspectQueue } from './rabbit-inspect.ts'
import type { Subscription } from './rabbit-topology.ts'

const CLOSE_TIMEOUT_MS = 2_000

export interface RabbitConsumingOptions extends AnswerLimits {
  readonly handler: DeliveryHandler
  readonly prefetch: number
  readonly gatherMs?: number | undefined
}

/** One channel with its consumers, from its opening to its end; what comes after is a new one. */
export class RabbitConsuming implements DeliveryChannel {
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

  /**
   * Declares and consumes; nothing is left of it when it throws.
   * @throws TopologyMismatch, NoAnswer, the signal's reason, or amqplib's error
   */
  static async open(
    model: ChannelModel,
    subscription: Subscription,
    options: RabbitConsumingOptions,
  ): Promise<RabbitConsuming> {
    const channel = await openChannel(model, options)
    const consuming = new RabbitConsuming(channel, subscription, options.prefetch)
    try {
      await consuming.#start(options)
      return consuming
    } catch (error) {
      await (options.signal?.aborted ? consuming.close() : consuming.#closeChannel())
      throw error
    }
  }

  async #start(options: RabbitConsumingOptions): Promise<void> {
    const channel = this.#channel
    await declareOn(channel, this.#subscription.declarations, options)
    await answered('setting the prefetch', channel.prefetch(this.#prefetch), options)
    for (const { name, fanout } of this.#subscription.queues) {
      const consumer = this.#consumerOf(name, fanout, options)
      const begun = toldByConnection(channel, () => consumer.consume()).catch((error: unknown) => {
        throw consumeTrouble(name, error)
      })
      await answered(`consuming from ${name}`, begun, options)
      this.#consumers.push(consumer)
    }
  }

  #consumerOf(name: string, fanout: boolean, options: RabbitConsumingOptions): QueueConsumer {
    const { handler, gatherMs, answerTimeoutMs } = options
    const onMessage = (message: ConsumeMessage | null) => {
      if (message) handler(this.#delivery(message, name, fanout))
      else this.#giveUp(`the broker cancelled the consumer of ${name}: its queue is gone`)
    }
    if (gatherMs === undefined) return new RabbitConsumer(this.#channel, name, this.#subscription.noAck, onMessage)
    return new RabbitGatheringConsumer(this.#channel, name, onMessage, {
      gatherMs,
      onTaken: this.acks.flush,
      answerTimeoutMs,
      onNoAnswer: (reason) => this.#giveUp(reason),
    })
  }

  #giveUp(reason: string): void {
    this.#reason = reason
    void this.#closeChannel()
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
    if (await endedWithin(CLOSE_TIMEOUT_MS, Promise.all(cancelled))) return
    // A broker that does not answer this answers nothing: it is told to give back what is unsettled, and not waited for again.
    this.acks.flush()
    throwAway(this.#channel)
    this.#ended()
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
