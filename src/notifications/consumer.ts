import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../errors.ts'
import { pause } from '../rpc/abortable.ts'
import { type DeadDelivery, parkDeadLetter } from '../rpc/dead-letters.ts'
import { encodeEnvelope } from '../rpc/envelope.ts'
import { type BusNames, DEFAULT_BUS_NAMES } from '../rpc/names.ts'
import { RecentIds } from '../rpc/recent-ids.ts'
import { AllowedSenders } from '../rpc/senders.ts'
import { inConsumedSpan } from '../rpc/tracing.ts'
import type { Delivery, Listener, Source, Transport } from '../rpc/transport.ts'
import { Batches } from './batches.ts'
import type { NotificationConsumerOptions, NotificationHandling, Offer } from './consumer-options.ts'
import { identityOf } from './identity.ts'
import { HandlingFailed } from './in-sequence.ts'
import {
  type AnyNotification,
  DEFAULT_NOTIFICATION_NAMES,
  decodeAnyNotification,
  decodeNotification,
  type NotificationNames,
} from './notification.ts'
import { processedSpan } from './spans.ts'

/** Longest pause before a notification is offered again. */
const MAX_RETRY_DELAY_MS = 30_000
/** RabbitMQ 4 drops a message of a quorum queue on its 20th return: what is given back so often is kept instead. */
const MAX_REQUEUES = 15
const PREFETCH = 64

interface Received {
  readonly delivery: Delivery
  readonly notification: AnyNotification
  readonly identity: string | undefined
}

interface Failure {
  readonly error: SevbusError
  /** The one of those in sequence whose handling failed. */
  readonly of?: HandlingFailed<AnyNotification>
}

/** Reads notifications, ours, Nova's, or anybody's that oslo.messaging has sent. */
export class NotificationConsumer {
  readonly #transport: Transport
  readonly #logger: Logger
  readonly #names: NotificationNames
  readonly #busNames: BusNames
  readonly #source: Source
  readonly #isTap: boolean
  readonly #decode: (delivery: Delivery) => AnyNotification
  readonly #check: (notification: AnyNotification) => unknown
  readonly #handleBatch: BatchHandler
  readonly #batchSize: number
  readonly #maxTries: number
  readonly #senders: AllowedSenders
  readonly #retryDelayMs: number
  readonly #batches: Batches<Delivery>
  readonly #handled = new RecentIds()
  readonly #closing = new AbortController()
  #listener: Listener | undefined

  constructor(options: NotificationConsumerOptions) {
    const { names = DEFAULT_NOTIFICATION_NAMES, priorities = ['info', 'error'], pool, tap = false } = options
    this.#transport = options.transport
    this.#logger = options.logger
    this.#names = names
    this.#busNames = options.busNames ?? DEFAULT_BUS_NAMES
    const places = { exchange: names.exchange, topics: [names.topic], priorities }
    this.#source = tap
      ? { kind: 'notification-tap', ...places }
      : { kind: 'notifications', ...places, ...(pool !== undefined && { pool }) }
    this.#isTap = tap
    this.#decode = options.payload === 'any' ? decodeAnyNotification : decodeNotification
    this.#check = options.check ?? (() => {})
    this.#handleBatch = handlerOf(options)
    this.#maxTries = options.maxTries ?? Number.POSITIVE_INFINITY
    this.#senders = new AllowedSenders(options.transport, options.allowedSenders)
    this.#retryDelayMs = options.retryDelayMs ?? 500
    const { batchSize = 100, batchTimeoutMs = 1_000 } = options.onBatch ? options : { batchSize: 1 }
    this.#batchSize = batchSize
    this.#batches = new Batches(batchSize, batchTimeoutMs, (batch) => this.#accept(batch))
  }

  /** Resolves once notifications can arrive. */
  async start(): Promise<void> {
    const take = (delivery: Delivery) => this.#batches.add(delivery)
    const prefetch = Math.max(PREFETCH, this.#batchSize)
    this.#listener = await this.#transport.listen(this.#source, take, { prefetch })
  }

  /** Finishes what is being handled; the others go back. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#listener?.stop()
    await this.#batches.finish()
    await this.#listener?.close()
  }

  async #accept(batch: readonly Delivery[]): Promise<void> {
    try {
      await this.#handle(batch)
    } catch (error) {
      this.#logger.error({ err: error }, 'a notification could not be settled; it goes back to its queue')
      for (const delivery of batch) delivery.requeue()
    }
  }

  async #handle(batch: readonly Delivery[]): Promise<void> {
    if (this.#closing.signal.aborted) return requeue(batch)
    const received: Received[] = []
    for (const delivery of batch) {
      const each = this.#read(delivery)
      if ('error' in each) await this.#park(delivery, each.error, delivery.deliveryCount)
      else if (each.identity !== undefined && this.#handled.has(each.identity)) delivery.ack()
      // What was lost on the way here is delivered again.
      else if (!delivery.lost) received.push(each)
    }
    if (received.length > 0) await this.#offer(received)
  }

  #read(delivery: Delivery): Received | { readonly error: SevbusError } {
    const error = this.#senders.refusalOf(delivery)
    if (error !== undefined) return { error }
    try {
      const notification = this.#decode(delivery)
      this.#check(notification)
      return { delivery, notification, identity: identityOf(notification) }
    } catch (thrown) {
      return { error: toSevbusError(thrown) }
    }
  }

  /** @param tried as the broker counts, this time included */
  async #offer(received: readonly Received[], tried = mostTries(received)): Promise<void> {
    for (let tries = tried; ; tries++) {
      const failure = await this.#try(received)
      if (failure === undefined) return
      const isGivenBack = failure === 'requeue' && tries <= MAX_REQUEUES
      if (failure !== 'requeue') {
        const { code, message } = failure.error
        this.#logger.warn({ ...factsOf(received), tries, code }, `not handled: ${message}`)
        if (tries >= this.#maxTries && !this.#closing.signal.aborted)
          return await this.#giveUp(received, failure, tries)
      }
      await pause(Math.min(this.#retryDelayMs * tries, MAX_RETRY_DELAY_MS), this.#closing.signal)
      if (isGivenBack || this.#closing.signal.aborted) return requeue(received.map(({ delivery }) => delivery))
    }
  }

  async #try(received: readonly Received[]): Promise<undefined | 'requeue' | Failure> {
    let isRequeued = false
    const requeue = () => {
      isRequeued = true
    }
    try {
      const notifications = received.map(({ notification }) => notification)
      const span = () => processedSpan(this.#names.topic, notifications[0]?.event_type ?? null, notifications.length)
      const headers = received.map(({ delivery }) => delivery.headers)
      await inConsumedSpan(span, headers, () => this.#handleBatch(notifications, { requeue }))
    } catch (thrown) {
      if (!(thrown instanceof HandlingFailed)) return { error: toSevbusError(thrown) }
      return { error: toSevbusError(thrown.cause), of: thrown }
    }
    if (isRequeued) return 'requeue'
    for (const { delivery, identity } of received) {
      if (identity !== undefined) this.#handled.add(identity)
      delivery.ack()
    }
    return undefined
  }

  /** One bad notification takes nobody with it that only happened to be in its batch. */
  async #giveUp(received: readonly Received[], failure: Failure, tries: number): Promise<void> {
    for (const each of received) {
      const own = received.length > 1 ? await this.#try([each]) : failure
      if (own === 'requeue') each.delivery.requeue()
      else if (own !== undefined) await this.#putAside(each, own, tries)
    }
  }

  /** The one that fails, which may be one that was missing before the one that came. */
  async #putAside(received: Received, { error, of }: Failure, tries: number): Promise<void> {
    const { delivery, notification } = received
    if (of === undefined || isSame(of.notification, notification)) {
      await this.#keep(delivery, error, tries)
      await of?.leaveOut()
      return delivery.ack()
    }
    const body = Buffer.from(encodeEnvelope(of.notification))
    await this.#keep({ ...COPY, queue: delivery.queue, body }, error, tries)
    await of.leaveOut()
    await this.#offer([received], 1)
  }

  async #park(delivery: Delivery, error: SevbusError, tries: number): Promise<void> {
    await this.#keep(delivery, error, tries)
    delivery.ack()
  }

  async #keep(delivery: DeadDelivery, error: SevbusError, tries: number): Promise<void> {
    // A tap looks at a copy: the notification itself is in the hands of others.
    if (!this.#isTap) {
      const place = { transport: this.#transport, names: this.#busNames }
      await parkDeadLetter(place, this.#names.topic, delivery, error, tries)
    }
    const facts = { code: error.code, reason: error.message }
    this.#logger.error(facts, 'notification could not be handled and was put aside')
  }
}

type BatchHandler = (notifications: readonly AnyNotification[], offer: Offer) => Promise<void>

/** As its reader decodes them, so are they given to the handler: the types of the options tie the two together. */
function handlerOf({ onNotification, onBatch }: NotificationHandling): BatchHandler {
  const handleOne = onNotification as (notification: AnyNotification, offer: Offer) => Promise<void>
  return (
    (onBatch as BatchHandler | undefined) ??
    (async ([notification], offer) => handleOne(notification as AnyNotification, offer))
  )
}

/** Of one that a conductor has told once more. */
const COPY = { contentType: 'application/json', headers: {}, userId: undefined }

function isSame(a: AnyNotification, b: AnyNotification): boolean {
  const identity = identityOf(a)
  return a === b || (identity !== undefined && identity === identityOf(b))
}

function mostTries(received: readonly Received[]): number {
  return Math.max(...received.map(({ delivery }) => delivery.deliveryCount))
}

function requeue(deliveries: readonly Delivery[]): void {
  for (const delivery of deliveries) delivery.requeue()
}

function factsOf([first, ...others]: readonly Received[]) {
  const { event_type, message_id } = first?.notification ?? {}
  return { event_type, message_id, ...(others.length > 0 && { and_more: others.length }) }
}
