import type { Channel, ConsumeMessage } from 'amqplib'
import { pause } from '../abortable.ts'
import type { QueueState } from '../transport.ts'
import { QueueFlow } from './queue-flow.ts'
import { answered, NoAnswer } from './rabbit-answer.ts'
import type { QueueConsumer } from './rabbit-consumer.ts'

/** So long it consumes at a time, in milliseconds: what waits is there in one or two. */
const TAKE_MS = 20
/** Where more than this comes in that time, more is waiting. */
const FEW = TAKE_MS

interface GatheringOptions {
  readonly gatherMs: number
  /** What was delivered in one go has come. */
  readonly onTaken: () => void
  /** So long the broker may take for each consumer, in milliseconds. */
  readonly answerTimeoutMs?: number | undefined
  /** It takes longer: nothing more is consumed. */
  readonly onNoAnswer: (reason: string) => void
}

/**
 * Consumes for a moment at each interval, and leaves what comes meanwhile in the queue: a thousand messages one by one
 * wake the process a thousand times, which costs several times what the messages do. AMQP has no other word for it:
 * `channel.flow` is not RabbitMQ's, and a prefetch holds back the last of many, not the next of few.
 */
export class RabbitGatheringConsumer implements QueueConsumer {
  readonly queue: string
  readonly #channel: Channel
  readonly #onMessage: (message: ConsumeMessage | null) => void
  readonly #options: GatheringOptions
  readonly #flow: QueueFlow
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  #delivered = 0

  /** @param onMessage is given null when the broker cancels the consumer */
  constructor(
    channel: Channel,
    queue: string,
    onMessage: (message: ConsumeMessage | null) => void,
    options: GatheringOptions,
  ) {
    this.#channel = channel
    this.queue = queue
    this.#onMessage = onMessage
    this.#options = options
    this.#flow = new QueueFlow(queue)
  }

  async consume(): Promise<void> {
    this.#running = this.#run(await this.#begin())
  }

  async cancel(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  /** Each go is a new consumer. */
  async renew(): Promise<void> {}

  judge({ messages }: QueueState, hasRoom: boolean): { readonly trouble?: string; readonly isQuiet: boolean } {
    return this.#flow.judge(messages, this.#delivered, hasRoom)
  }

  /** @param consumerTag of the go that has begun */
  async #run(consumerTag: string): Promise<void> {
    const { signal } = this.#stop
    try {
      for (let tag = consumerTag; ; ) {
        await this.#take()
        this.#options.onTaken()
        await answered(`consuming from ${this.queue} no more`, this.#channel.cancel(tag), this.#options)
        await pause(this.#options.gatherMs, signal)
        if (signal.aborted) return
        tag = await answered(`consuming from ${this.queue}`, this.#begin(), this.#options)
      }
    } catch (error) {
      // Or it is the end of its channel, of which its listener hears, too: it begins again.
      if (error instanceof NoAnswer) this.#options.onNoAnswer(error.message)
    }
  }

  async #begin(): Promise<string> {
    const { consumerTag } = await this.#channel.consume(this.queue, (message) => {
      this.#delivered++
      this.#onMessage(message)
    })
    return consumerTag
  }

  async #take(): Promise<void> {
    let before: number
    do {
      before = this.#delivered
      await pause(TAKE_MS, this.#stop.signal)
    } while (this.#delivered - before > FEW && !this.#stop.signal.aborted)
  }
}
