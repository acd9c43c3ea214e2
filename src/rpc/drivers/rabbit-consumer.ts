import type { Channel, ConsumeMessage } from 'amqplib'
import type { QueueState } from '../transport.ts'

/** One consumer of one queue, which can be asked whether it still is one. */
export class RabbitConsumer {
  readonly queue: string
  readonly #channel: Channel
  readonly #onMessage: (message: ConsumeMessage | null) => void
  readonly #noAck: boolean
  #tag = ''
  #isCancelled = false
  #delivered = 0
  /** As they were when it was last asked. */
  #last = { delivered: 0, isWaitedFor: false }

  /** @param onMessage is given null when the broker cancels the consumer */
  constructor(channel: Channel, queue: string, noAck: boolean, onMessage: (message: ConsumeMessage | null) => void) {
    this.#channel = channel
    this.queue = queue
    this.#noAck = noAck
    this.#onMessage = onMessage
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

  /** A new consumer, and then the old one goes: whatever has become of it, there is one. */
  async renew(): Promise<void> {
    const old = this.#tag
    await this.consume()
    await this.#channel.cancel(old)
    if (this.#isCancelled) await this.#channel.cancel(this.#tag)
  }

  /**
   * Compares what the broker says of the queue with what has come since the last time.
   * @param hasRoom another message would be delivered to it
   */
  judge(
    { messages, consumers }: QueueState,
    hasRoom: boolean,
  ): { readonly trouble?: string; readonly isQuiet: boolean } {
    const isQuiet = this.#delivered === this.#last.delivered
    const isWaitedFor = hasRoom && messages > 0
    const wasWaitedFor = this.#last.isWaitedFor
    this.#last = { delivered: this.#delivered, isWaitedFor }
    if (consumers === 0) return { trouble: `the queue ${this.queue} has no consumer any more`, isQuiet }
    if (!(isQuiet && isWaitedFor && wasWaitedFor)) return { isQuiet }
    return { trouble: `${messages} messages wait in the queue ${this.queue}, and none is delivered here`, isQuiet }
  }
}
