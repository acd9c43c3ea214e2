import type { Channel, ConsumeMessage } from 'amqplib'
import type { QueueState } from '../transport.ts'
import { QueueFlow } from './queue-flow.ts'

/** One consumer of one queue, which can be asked whether it still is one. */
export interface QueueConsumer {
  readonly queue: string
  consume(): Promise<void>
  cancel(): Promise<void>
  /** A new consumer, and then the old one goes: whatever has become of it, there is one. */
  renew(): Promise<void>
  /**
   * Compares what the broker says of the queue with what has come since the last time.
   * @param hasRoom another message would be delivered to it
   */
  judge(state: QueueState, hasRoom: boolean): { readonly trouble?: string; readonly isQuiet: boolean }
}

/** Consumes all the time. */
export class RabbitConsumer implements QueueConsumer {
  readonly queue: string
  readonly #channel: Channel
  readonly #onMessage: (message: ConsumeMessage | null) => void
  readonly #noAck: boolean
  #tag = ''
  #isCancelled = false
  readonly #flow: QueueFlow
  #delivered = 0

  /** @param onMessage is given null when the broker cancels the consumer */
  constructor(channel: Channel, queue: string, noAck: boolean, onMessage: (message: ConsumeMessage | null) => void) {
    this.#channel = channel
    this.queue = queue
    this.#noAck = noAck
    this.#onMessage = onMessage
    this.#flow = new QueueFlow(queue)
  }

  async consume(): Promise<void> {
    const onMessage = (message: ConsumeMessage | null) => {
      this.#delivered++
      this.#onMessage(message)
    }
    const { consumerTag } = await this.#channel.consume(this.queue, onMessage, { noAck: this.#noAck })
    this.#tag = consumerTag
  }

  async cancel(): Promise<void> {
    this.#isCancelled = true
    await this.#channel.cancel(this.#tag)
  }

  async renew(): Promise<void> {
    const old = this.#tag
    await this.consume()
    await this.#channel.cancel(old)
    if (this.#isCancelled) await this.#channel.cancel(this.#tag)
  }

  judge(
    { messages, consumers }: QueueState,
    hasRoom: boolean,
  ): { readonly trouble?: string; readonly isQuiet: boolean } {
    const found = this.#flow.judge(messages, this.#delivered, hasRoom)
    if (consumers > 0) return found
    return { ...found, trouble: `the queue ${this.queue} has no consumer any more` }
  }
}
