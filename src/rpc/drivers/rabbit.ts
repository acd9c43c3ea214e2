import type { Logger } from 'pino'
import { TransportUnavailable } from '../../errors.ts'
import { abortable } from '../abortable.ts'
import type {
  DeliveryHandler,
  Destination,
  Listener,
  ListenOptions,
  OutboundMessage,
  Patience,
  QueueState,
  Source,
  Transport,
  TransportCounts,
  TransportState,
} from '../transport.ts'
import { blockedText } from '../transport.ts'
import { type BrokerOptions, type BrokerSettings, brokerSettings, describeBroker } from './broker-settings.ts'
import { RabbitConnection } from './rabbit-connection.ts'
import { declareOver } from './rabbit-declare.ts'
import { inspectQueue } from './rabbit-inspect.ts'
import { RabbitListener } from './rabbit-listener.ts'
import { RabbitPublisher } from './rabbit-publisher.ts'
import { routeOf } from './rabbit-topology.ts'
import type { Gathering } from './rabbit-writes.ts'

/** A publish without a patience of its caller's gives up after so long without a connection. */
const PUBLISH_TIMEOUT_MS = 30_000

export interface RabbitTransportOptions extends BrokerOptions {
  readonly logger: Logger
  /** What the broker shows; the process id is added. */
  readonly connectionName?: string
  /** So long the broker may take to answer what a listener begins with, in milliseconds; then it is asked anew. */
  readonly answerTimeoutMs?: number
  /** Told why there is no connection, while there is none. */
  readonly onWaiting?: (reason: string) => void
}

/**
 * RabbitMQ, as oslo.messaging uses it.
 *
 * Two connections, because a broker that is short of memory stops reading from those that publish, and consumers must
 * still be able to acknowledge. A channel for each listener, because any mistake on a channel closes it.
 */
export class RabbitTransport implements Transport {
  readonly #settings: BrokerSettings
  readonly #logger: Logger
  readonly #publishing: RabbitConnection
  readonly #consuming: RabbitConnection
  readonly #publisher: RabbitPublisher
  readonly #answerTimeoutMs: number | undefined
  readonly #listeners = new Set<RabbitListener>()
  #said = { reason: '', at: 0 }
  #closed: Promise<void> | undefined

  /** @throws InvalidConfiguration when the URL is wrong, or contradicts the other options */
  constructor({ logger, connectionName = 'sevbus', answerTimeoutMs, onWaiting, ...options }: RabbitTransportOptions) {
    const settings = brokerSettings(options)
    this.#settings = settings
    this.#logger = logger
    this.#answerTimeoutMs = answerTimeoutMs
    const broker = describeBroker(settings)
    const connection = (role: string, gathering: Gathering) =>
      new RabbitConnection({
        settings,
        name: `${connectionName}:${process.pid}:${role}`,
        publishes: role === 'publish',
        gathering,
        logger,
        onWaiting: (reason) => this.#sayWaiting(broker, reason, onWaiting),
      })
    this.#publishing = connection('publish', 'while busy')
    // A call begins when its acknowledgement has left: at the end of the turn that wrote it.
    this.#consuming = connection('consume', 'each turn')
    this.#publisher = new RabbitPublisher(this.#publishing, settings.topology, logger)
    sayDoubts(settings, broker, logger)
  }

  get description(): string {
    const product = this.#publishing.product ?? this.#consuming.product ?? 'RabbitMQ'
    return `${product} at ${describeBroker(this.#settings)}`
  }

  get state(): TransportState {
    if (this.#closed !== undefined) return 'closed'
    return this.#publishing.isOpen && this.#consuming.isOpen ? 'connected' : 'connecting'
  }

  get blocked(): string | undefined {
    return this.#publishing.blockage.reason
  }

  get userId(): string | undefined {
    return this.#publishing.userId
  }

  get counts(): TransportCounts {
    const reconnects = this.#publishing.reconnects + this.#consuming.reconnects
    return { reconnects, published: this.#publisher.counts }
  }

  async connect(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.#throwIfClosed()
    await Promise.all([this.#publishing.readyOrBlocked(signal), this.#consuming.ready(signal)])
  }

  publish(to: Destination, message: OutboundMessage, patience?: Patience): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(closed())
    return this.#publisher.publish(to, message, patience ?? new PublishTimeout(this.#publishing))
  }

  async declare(to: Destination, signal?: AbortSignal): Promise<void> {
    this.#throwIfClosed()
    // Where nothing is published: who starts while the broker is blocked may be the one to empty its queues.
    const { declarations } = routeOf(to, this.#settings.topology)
    await declareOver(this.#consuming, declarations, signal)
  }

  async listen(source: Source, handler: DeliveryHandler, options: ListenOptions): Promise<Listener> {
    this.#throwIfClosed()
    const listener = new RabbitListener({
      connection: this.#consuming,
      source,
      handler,
      ...options,
      answerTimeoutMs: this.#answerTimeoutMs,
      topology: this.#settings.topology,
      logger: this.#logger,
    })
    this.#listeners.add(listener)
    try {
      await listener.start()
    } catch (error) {
      this.#listeners.delete(listener)
      throw error
    }
    return {
      stop: () => listener.stop(),
      close: async () => {
        await listener.close()
        this.#listeners.delete(listener)
      },
    }
  }

  async inspect(queue: string, signal?: AbortSignal): Promise<QueueState | undefined> {
    this.#throwIfClosed()
    // Where nothing is published: it is not blocked, and waits behind no message.
    const model = await this.#consuming.ready(signal)
    return await abortable(inspectQueue(model, queue), signal)
  }

  async check(signal: AbortSignal): Promise<readonly string[]> {
    this.#throwIfClosed()
    const checks = Promise.all([...this.#listeners].map((listener) => listener.check()))
    return (await abortable(checks, signal)).flat()
  }

  async reconnect(reason: string): Promise<void> {
    this.#throwIfClosed()
    await Promise.all([this.#publishing.reconnect(reason), this.#consuming.reconnect(reason)])
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#listeners].map((listener) => listener.close()))
    await Promise.all([this.#publishing.close(), this.#consuming.close()])
  }

  /** Once for both connections, which are mostly lost together. */
  #sayWaiting(broker: string, reason: string, onWaiting: RabbitTransportOptions['onWaiting']): void {
    const now = performance.now()
    if (reason === this.#said.reason && now - this.#said.at < 1000) return
    this.#said = { reason, at: now }
    this.#logger.warn({ broker, reason }, 'waiting for the broker')
    onWaiting?.(reason)
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw closed()
  }
}

function closed(): TransportUnavailable {
  return new TransportUnavailable('the transport is closed')
}

/** Counts from when it is first asked: there is no connection. */
class PublishTimeout implements Patience {
  readonly #connection: RabbitConnection
  #signal: AbortSignal | undefined

  constructor(connection: RabbitConnection) {
    this.#connection = connection
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#begin()
    return this.#signal
  }

  #begin(): AbortSignal {
    const controller = new AbortController()
    const giveUp = () => {
      const { blockage, waitingFor } = this.#connection
      const why = blockage.reason === undefined ? waitingFor : blockedText(blockage.reason)
      const text = `the broker took no message for ${PUBLISH_TIMEOUT_MS} ms: ${why}`
      controller.abort(new TransportUnavailable(text))
    }
    setTimeout(giveUp, PUBLISH_TIMEOUT_MS).unref()
    return controller.signal
  }
}

/** What an operator may have meant otherwise. */
function sayDoubts({ tls, withoutEffect }: BrokerSettings, broker: string, logger: Logger): void {
  if (tls?.verifyHostname === false) {
    logger.warn(
      { broker },
      "the name in the broker's certificate is not checked: any host with a trusted one may be it",
    )
  }
  if (withoutEffect.length > 0) {
    logger.info({ broker, options: withoutEffect }, "options of the broker's URL that have no effect here")
  }
}
