import type { ConsumeMessage } from 'amqplib'
import type { Delivery } from '../transport.ts'
import type { RabbitAcks } from './rabbit-acks.ts'

/** What a delivery needs of the channel it came by. */
export interface DeliveryChannel {
  readonly isOpen: boolean
  readonly acks: RabbitAcks
}

export class RabbitDelivery implements Delivery {
  readonly queue: string
  readonly fanout: boolean
  readonly #message: ConsumeMessage
  readonly #channel: DeliveryChannel
  #settled: boolean

  /** @param settled the broker has forgotten it already: it was sent without waiting for an acknowledgement */
  constructor(message: ConsumeMessage, channel: DeliveryChannel, queue: string, fanout: boolean, settled: boolean) {
    this.#message = message
    this.#channel = channel
    this.#settled = settled
    this.queue = queue
    this.fanout = fanout
  }

  get body(): Buffer {
    return this.#message.content
  }

  get contentType(): string | undefined {
    return this.#message.properties.contentType
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.#message.properties.headers ?? {}
  }

  get userId(): string | undefined {
    return this.#message.properties.userId
  }

  /** Quorum queues count; classic ones know only that it was not the first time. */
  get deliveryCount(): number {
    if (this.#counted > 0) return this.#counted + 1
    return this.#message.fields.redelivered ? 2 : 1
  }

  get isCounted(): boolean {
    return !this.#message.fields.redelivered || this.#counted > 0
  }

  get sentAtMs(): number | undefined {
    const { timestamp } = this.#message.properties
    return typeof timestamp === 'number' ? timestamp * 1000 : undefined
  }

  get expirationMs(): number | undefined {
    const expirationMs = Number(this.#message.properties.expiration ?? Number.NaN)
    return Number.isFinite(expirationMs) ? expirationMs : undefined
  }

  /** What the broker says of how often it was delivered before; 0 where it says nothing. */
  get #counted(): number {
    const counted: unknown = this.headers['x-delivery-count']
    return typeof counted === 'number' ? counted : 0
  }

  get lost(): boolean {
    return !this.#settled && !this.#channel.isOpen
  }

  ack(when: 'now' | 'soon' = 'now'): void {
    if (this.#settle()) this.#channel.acks.ack(this.#message, when)
  }

  requeue(): void {
    if (this.#settle()) this.#channel.acks.requeue(this.#message)
  }

  #settle(): boolean {
    if (this.#settled || !this.#channel.isOpen) return false
    this.#settled = true
    return true
  }
}
