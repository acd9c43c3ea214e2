import { type Channel, type ConsumeMessage, IllegalOperationError } from 'amqplib'

/** So long an acknowledgement that is in no hurry waits for others, in milliseconds. */
const SOON_MS = 50
/** Of what the broker sends ahead so much may wait for that: the rest keeps coming meanwhile. */
const WAITING_PART = 1 / 4
/** Without a limit to what it sends ahead. */
const MAX_WAITING = 64

/**
 * Acknowledges what was settled in one turn of the event loop together, and what is in no hurry with what comes within
 * moments: a write to the socket costs more than all else about a small message. One `basic.ack` with `multiple` goes up to
 * the lowest tag that is not settled yet, and one by itself for each that is settled beyond it, so that one long piece of
 * work holds back nobody's acknowledgement.
 */
export class RabbitAcks {
  readonly #channel: Channel
  /** Delivered and not settled, in the order of their tags, as Sets keep it. */
  readonly #unsettled = new Set<number>()
  readonly #maxWaiting: number
  #settled: ConsumeMessage[] = []
  #isDue = false
  #timer: NodeJS.Timeout | undefined

  /** @param prefetch how many are sent ahead; 0: any number */
  constructor(channel: Channel, prefetch = 0) {
    this.#channel = channel
    this.#maxWaiting = prefetch === 0 ? MAX_WAITING : prefetch * WAITING_PART
  }

  /** How many were delivered and not settled. */
  get unsettled(): number {
    return this.#unsettled.size
  }

  delivered({ fields }: ConsumeMessage): void {
    this.#unsettled.add(fields.deliveryTag)
  }

  ack(message: ConsumeMessage, when: 'now' | 'soon' = 'now'): void {
    this.#unsettled.delete(message.fields.deliveryTag)
    this.#settled.push(message)
    if (this.#isDue) return
    if (when === 'now' || this.#settled.length >= this.#maxWaiting) {
      this.#isDue = true
      process.nextTick(this.flush)
    } else this.#timer ??= setTimeout(this.flush, SOON_MS)
  }

  requeue(message: ConsumeMessage): void {
    this.#unsettled.delete(message.fields.deliveryTag)
    whereOpen(() => this.#channel.nack(message, false, true))
  }

  /** Sends what waits. */
  readonly flush = () => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    const settled = this.#settled
    this.#settled = []
    const [lowestUnsettled = Number.POSITIVE_INFINITY] = this.#unsettled
    whereOpen(() => {
      let last: ConsumeMessage | undefined
      for (const message of settled) {
        const { deliveryTag } = message.fields
        if (deliveryTag > lowestUnsettled) this.#channel.ack(message)
        else if (last === undefined || deliveryTag > last.fields.deliveryTag) last = message
      }
      if (last !== undefined) this.#channel.ack(last, true)
    })
  }
}

/** A channel that has closed, or whose connection is closing, takes nothing: the broker gives the messages to others. */
function whereOpen(tell: () => void): void {
  try {
    tell()
  } catch (error) {
    if (!(error instanceof IllegalOperationError)) throw error
  }
}
