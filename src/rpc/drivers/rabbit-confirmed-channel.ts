import { type ChannelModel, type ConfirmChannel, IllegalOperationError, type Options } from 'amqplib'
import { InvalidArguments } from '../../errors.ts'
import { CONTENT_ENCODING, CONTENT_TYPE } from '../envelope.ts'
import type { OutboundMessage, PublishOutcome } from '../transport.ts'
import { isRefused, type PublishRefusal, publishRefusalOf } from './publish-refusal.ts'

/** The longest that RabbitMQ takes: 32 bits of milliseconds. */
const MAX_EXPIRATION_MS = 2 ** 32 - 1

/** One AMQP channel in confirm mode, on which every message learns its own outcome. */
export class ConfirmedChannel {
  readonly #channel: ConfirmChannel
  /** Ids of messages that were returned; the confirm, which comes after, takes them out. */
  readonly #returned = new Set<string>()
  readonly #userId: string | undefined
  readonly #openedAtMs = performance.now()
  #lastId = 0
  #unsettled = 0
  #isRetired = false
  #closed = false
  #refusal: PublishRefusal | undefined

  private constructor(
    channel: ConfirmChannel,
    userId: string | undefined,
    onClose: (closed: ConfirmedChannel, reason: string | undefined) => void,
  ) {
    this.#channel = channel
    this.#userId = userId
    let reason: string | undefined
    channel.on('error', (error) => {
      reason = error.message
      this.#refusal = publishRefusalOf(error)
    })
    channel.on('close', () => {
      this.#closed = true
      onClose(this, reason)
    })
    channel.on('return', ({ properties }) => this.#returned.add(String(properties.messageId)))
  }

  /** @param userId says of each message who sends it; the broker refuses any name but ours */
  static async open(
    model: ChannelModel,
    userId: string | undefined,
    onClose: (closed: ConfirmedChannel, reason: string | undefined) => void,
  ): Promise<ConfirmedChannel> {
    return new ConfirmedChannel(await model.createConfirmChannel(), userId, onClose)
  }

  /** Why the broker closed it, when that was over the exchange of a message: each to the same exchange is refused. */
  get refusal(): PublishRefusal | undefined {
    return this.#refusal
  }

  get ageMs(): number {
    return performance.now() - this.#openedAtMs
  }

  /** Closes when the last message on it has its outcome. */
  retire(): void {
    this.#isRetired = true
    this.#closeIfDone()
  }

  publish(
    { exchange, routingKey }: { readonly exchange: string; readonly routingKey: string },
    { body, contentType = CONTENT_TYPE, mandatory, expirationMs, headers }: OutboundMessage,
  ): Promise<PublishOutcome> {
    if (this.#closed) return Promise.resolve('not sent')
    // Receivers ignore the message id; we need it, for a return says nothing else about which message it was.
    const messageId = String(++this.#lastId)
    const properties: Options.Publish = {
      contentType,
      contentEncoding: CONTENT_ENCODING,
      deliveryMode: 2,
      priority: 0,
      messageId,
      timestamp: Math.floor(Date.now() / 1000),
      mandatory,
    }
    if (this.#userId !== undefined) properties.userId = this.#userId
    if (headers !== undefined) properties.headers = headers
    if (expirationMs !== undefined) properties.expiration = expirationOf(expirationMs)
    return new Promise((resolve, reject) => {
      const onConfirm = (error: unknown) => {
        const returned = this.#returned.delete(messageId)
        if (error === null) resolve(returned ? 'returned' : 'confirmed')
        else resolve(this.#failure(error, exchange))
        this.#unsettled--
        this.#closeIfDone()
      }
      try {
        this.#channel.publish(exchange, routingKey, Buffer.from(body), properties, onConfirm)
        this.#unsettled++
      } catch (error) {
        if (error instanceof IllegalOperationError) resolve('not sent')
        else reject(new InvalidArguments(`AMQP cannot carry the message: ${(error as Error).message}`))
      }
    })
  }

  #closeIfDone(): void {
    if (!this.#isRetired || this.#closed || this.#unsettled > 0) return
    this.#closed = true
    // It fails where the connection is lost meanwhile, and is closed then as well.
    this.#channel.close().catch(() => undefined)
  }

  #failure(error: unknown, exchange: string): PublishOutcome {
    if (isRefused(exchange, this.#refusal)) return 'refused'
    return this.#closed || isClosing(error) ? 'lost' : 'refused'
  }
}

/** Anything but digits, or too many, and RabbitMQ closes the channel over it, with all that is under way there. */
function expirationOf(ms: number): string {
  const isSendable = ms < MAX_EXPIRATION_MS
  return String(isSendable ? Math.max(0, Math.ceil(ms)) : MAX_EXPIRATION_MS)
}

/** amqplib tells both by an Error; the close event may come after the callbacks. */
function isClosing(error: unknown): boolean {
  return !(error instanceof Error && error.message === 'message nacked')
}
