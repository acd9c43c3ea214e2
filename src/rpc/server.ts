import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import { ServiceStopping, SevbusError, toSevbusError } from '../errors.ts'
import { parkDeadLetter } from './dead-letters.ts'
import { type Binding, type Dispatch, dispatch } from './dispatcher.ts'
import { decodeEnvelope } from './envelope.ts'
import { encodeFailure } from './failure.ts'
import { Limiter } from './limiter.ts'
import { type BusNames, DEFAULT_BUS_NAMES, topicOf } from './names.ts'
import { RecentIds } from './recent-ids.ts'
import { Replier } from './replier.ts'
import { decodeRequest, type Request } from './request.ts'
import type { Delivery, Listener, Transport } from './transport.ts'

export interface RpcServerOptions {
  readonly transport: Transport
  readonly logger: Logger
  /** This server's name: the `server` of a directed message. */
  readonly server: string
  /** All of one service; the first that fits a request serves it. */
  readonly bindings: readonly [Binding, ...Binding[]]
  readonly names?: BusNames
  /** Requests handled at a time; the rest waits in the queue, where another server can take it. */
  readonly concurrency?: number
  /** A cast is parked as a dead letter after so many tries, here and elsewhere together. */
  readonly maxDeliveries?: number
  /** Pause before a failed cast is tried again, in milliseconds, times the number of tries. */
  readonly retryDelayMs?: number
}

/**
 * Serves contracts: calls are acknowledged on arrival and answered once (at most once, as oslo.messaging); casts are
 * acknowledged when their endpoint has returned (at least once).
 */
export class RpcServer {
  readonly #options: Required<RpcServerOptions>
  readonly #topic: string
  readonly #replier: Replier
  readonly #handled = new RecentIds()
  readonly #running = new Set<Promise<void>>()
  readonly #limiter: Limiter
  readonly #abort = new AbortController()
  #listener: Listener | undefined
  #stopping: Promise<void> | undefined

  constructor(options: RpcServerOptions) {
    this.#options = { names: DEFAULT_BUS_NAMES, concurrency: 32, maxDeliveries: 5, retryDelayMs: 200, ...options }
    this.#topic = topicOf(this.#options.names, options.bindings[0].api)
    // Everything that runs listens to it: as many as there is room for, and that is no leak.
    setMaxListeners(0, this.#abort.signal)
    this.#limiter = new Limiter(this.#options.concurrency)
    this.#replier = new Replier(options.transport, options.logger)
  }

  /** Resolves once requests can arrive. */
  async start(): Promise<void> {
    const { transport, names, server, concurrency } = this.#options
    const source = { kind: 'server', exchange: names.exchange, topic: this.#topic, server } as const
    this.#listener = await transport.listen(source, (delivery) => this.#accept(delivery), { prefetch: concurrency })
  }

  /**
   * Takes nothing new, finishes what runs, answers it, closes.
   * @param graceMs after it, running work is told to stop and its messages go back to the queue
   */
  drain(graceMs: number): Promise<void> {
    this.#stopping ??= this.#drain(graceMs)
    return this.#stopping
  }

  async #drain(graceMs: number): Promise<void> {
    await this.#listener?.stop()
    const timer = setTimeout(() => this.#abort.abort(new ServiceStopping('the worker is stopping')), graceMs)
    await Promise.allSettled(this.#running)
    clearTimeout(timer)
    await this.#listener?.close()
  }

  /** Waits unacknowledged while all hands are busy: the prefetch then leaves the next request to another server. */
  #accept(delivery: Delivery): void {
    const work = this.#limiter
      .run(() => this.#handle(delivery))
      .catch((error: unknown) => {
        this.#options.logger.error({ err: error }, 'a message could not be settled; it goes back to its queue')
        delivery.requeue()
      })
    this.#running.add(work)
    void work.finally(() => this.#running.delete(work))
  }

  async #handle(delivery: Delivery): Promise<void> {
    if (this.#stopping !== undefined) return delivery.requeue()
    let request: Request
    try {
      request = decodeRequest(decodeEnvelope(delivery.body, delivery.contentType))
    } catch (error) {
      return this.#park(delivery, toSevbusError(error), 'malformed message')
    }
    if (request.uniqueId !== undefined && this.#handled.has(request.uniqueId)) return delivery.ack()
    if (request.reply) await this.#handleCall(delivery, request, request.reply)
    else await this.#handleCast(delivery, request)
    if (request.uniqueId !== undefined) this.#handled.add(request.uniqueId)
  }

  async #handleCall(delivery: Delivery, request: Request, address: NonNullable<Request['reply']>): Promise<void> {
    delivery.ack()
    const heartbeat = this.#replier.heartbeats(address)
    try {
      const result = await this.#run(request)
      heartbeat.stop()
      await this.#replier.result(address, result)
    } catch (error) {
      heartbeat.stop()
      this.#logFailure(request, error)
      await this.#replier.failure(address, encodeFailure(error))
    }
  }

  async #handleCast(delivery: Delivery, request: Request): Promise<void> {
    for (let tries = delivery.deliveryCount; ; tries++) {
      try {
        await this.#run(request)
        return delivery.ack()
      } catch (thrown) {
        const error = toSevbusError(thrown)
        if (this.#abort.signal.aborted) return delivery.requeue()
        this.#logFailure(request, error)
        const hopeless = thrown instanceof SevbusError && !error.retryable
        if (delivery.fanout) return delivery.ack()
        if (hopeless || tries >= this.#options.maxDeliveries) return this.#park(delivery, error, request.method)
        await pause(this.#options.retryDelayMs * tries, this.#abort.signal)
      }
    }
  }

  async #run(request: Request): Promise<unknown> {
    const found: Dispatch = dispatch(this.#options.bindings, request)
    return found.run({ signal: this.#abort.signal })
  }

  async #park(delivery: Delivery, error: SevbusError, what: string): Promise<void> {
    await parkDeadLetter(this.#options, this.#topic, delivery, error)
    this.#options.logger.error({ what, code: error.code, reason: error.message }, 'message parked as a dead letter')
    delivery.ack()
  }

  #logFailure(request: Request, thrown: unknown): void {
    const { logger } = this.#options
    const facts = { method: request.method, request_id: request.context.request_id }
    // A SevbusError is an answer like any other; anything else is a defect of ours, with its stack.
    if (thrown instanceof SevbusError) logger.info({ ...facts, code: thrown.code, reason: thrown.message }, 'refused')
    else logger.error({ ...facts, err: thrown }, 'endpoint failed')
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
