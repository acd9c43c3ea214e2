import { type Channel, type ConsumeMessage, IllegalOperationError } from 'amqplib'

/**
 * Acknowledges what was settled in one turn of the event loop together: one `basic.ack` with `multiple` up to the lowest
 * tag that is not settled yet, and one by itself for each that is settled beyond it, so that one long piece of work
 * holds back nobody's acknowledgement.
 */
export class RabbitAcks {
  readonly #channel: Channel
  /** Delivered and not settled, in the order of their tags, as Sets keep it. */
  readonly #unsettled = new Set<number>()
  #settled: ConsumeMessage[] = []

  constructor(channel: Channel) {
    this.#channel = channel
  }

  /** How many were delivered and not settled. */
  get unsettled(): number {
    return this.#unsettled.size
  }

  delivered({ fields }: ConsumeMessage): void {
    this.#unsettled.add(fields.deliveryTag)
  }

  ack(message: ConsumeMessage): void {
    this.#unsettled.delete(message.fields.deliveryTag)
    this.#settled.push(message)
    if (this.#settled.length === 1) process.nextTick(this.flush)
  }

  requeue(message: ConsumeMessage): void {
    this.#unsettled.delete(message.fields.deliveryTag)
    this.#channel.nack(message, false, true)
  }

  /** Sends what waits. A channel that has closed meanwhile takes none: the broker gives the messages to others. */
  readonly flush = () => {
    const settled = this.#settled
    this.#settled = []
    const [lowestUnsettled = Number.POSITIVE_INFINITY] = this.#unsettled
    try {
      let last: ConsumeMessage | undefined
      for (const message of settled) {
        const { deliveryTag } = message.fields
        if (deliveryTag > lowestUnsettled) this.#channel.ack(message)
        else if (last === undefined || deliveryTag > last.fields.deliveryTag) last = message
      }
      if (last !== undefined) this.#channel.ack(last, true)
    } catch (error) {
      if (!(error instanceof IllegalOperationError)) throw error
    }
  }
}
