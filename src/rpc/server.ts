import { setMaxListeners } from 'node:events'
import type { Logger } from 'pino'
import { ServiceStopping, type SevbusError, toSevbusError } from '../errors.ts'
import { Abandonment } from './abandonment.ts'
import { endedWithin, pause } from './abortable.ts'
import { Calls } from './calls.ts'
import { CastTries } from './cast-tries.ts'
import { deadLettersOf } from './dead-letters.ts'
import type { Binding, Dispatch } from './dispatcher.ts'
import type { DurableMessage } from './durable-message.ts'
import { Endpoints } from './endpoints.ts'
import { CONTENT_TYPE, decodeEnvelope, decodeMessage } from './envelope.ts'
import { encodeFailure } from './failure.ts'
import { Limiter } from './limiter.ts'
import { type BusNames, DEFAULT_BUS_NAMES, topicOf } from './names.ts'
import type { BusObserver } from './observer.ts'
import { Once } from './once.ts'
import { Parking } from './parking.ts'
import { isPing } from './ping.ts'
import { Replier } from './replier.ts'
import { decodeRequest, type Request } from './request.ts'
import { salvage } from './salvage.ts'
import { AllowedSenders } from './senders.ts'
import type { Delivery, Listener, Transport } from './transport.ts'

/** Time to heed the signal at the end of the grace, and then for the last replies. */
const LAST_WORDS_MS = 2_000
/** So long a pause waits for what is in hand. */
const PAUSE_MS = 2_000
/** Pings answered at a time, whatever all hands do. */
const PINGS = 2

const DEFAULTS = { names: DEFAULT_BUS_NAMES, concurrency: 32, maxDeliveries: 5, retryDelayMs: 200, allowedSenders: [] }

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
  /** Users of the broker whose messages are taken; without any, everyone's. */
  readonly allowedSenders?: readonly string[]
  /** Takes only what is sent to it by name; several servers of one name share it. */
  readonly isOnlyByName?: boolean | undefined
  /**
   * Takes only what is sent to it by name, and that in gathers: requests may wait so long, in milliseconds. For many casts
   * that are in no hurry; several servers of one name share them.
   */
  readonly gatherMs?: number | undefined
  readonly observer?: BusObserver | undefined
}

/**
 * Serves contracts: calls are acknowledged on arrival and answered once (at most once, as oslo.messaging); casts are
 * acknowledged when their endpoint has returned (at least once).
 */
export class RpcServer {
  readonly #options: Required<Omit<RpcServerOptions, 'observer' | 'gatherMs' | 'isOnlyByName'>>
  readonly #isOnlyByName: boolean
  readonly #gatherMs: number | undefined
  readonly #observer: BusObserver | undefined
  readonly #topic: string
  readonly #ownQueue: string
  readonly #replier: Replier
  readonly #parking: Parking
  readonly #endpoints: Endpoints
  readonly #calls: Calls
  readonly #casts: CastTries
  readonly #senders: AllowedSenders
  readonly #once = new Once()
  readonly #limiter: Limiter
  readonly #pings = new Limiter(PINGS)
  /** As many hands more, for what came by no queue: the calls that have stored it hold theirs until they are answered. */
  readonly #atHand: Limiter
  #heardByName = 0
  readonly #lastTaken = new Map<string, number>()
  /** The three ends of a drain that takes too long: work is told to stop, is left alone, and nobody is answered. */
  readonly #abort = new AbortController()
  readonly #abandonment = new Abandonment()
  readonly #silence = new AbortController()
  #listener: Listener | undefined
  #stopped: Promise<void> | undefined
  #drained: Promise<void> | undefined

  constructor({ observer, gatherMs, isOnlyByName = gatherMs !== undefined, ...options }: RpcServerOptions) {
    this.#options = { ...DEFAULTS, ...options }
    this.#isOnlyByName = isOnlyByName
    this.#gatherMs = gatherMs
    this.#observer = observer
    this.#topic = topicOf(this.#options.names, options.bindings[0].api)
    this.#ownQueue = `${this.#topic}.${options.server}`
    // Every request that runs listens to them; Node takes more than ten for a leak.
    setMaxListeners(0, this.#abort.signal, this.#silence.signal)
    this.#limiter = new Limiter(this.#options.concurrency)
    this.#atHand = new Limiter(this.#options.concurrency)
    this.#senders = new AllowedSenders(options.transport, options.allowedSenders)
    this.#parking = new Parking({ ...this.#options, from: this.#topic, observer })
    const { signal } = this.#abort
    this.#endpoints = new Endpoints({ ...this.#options, observer, signal, abandonment: this.#abandonment })
    const { service } = this
    const tries = { endpoints: this.#endpoints, parking: this.#parking, service, observer, signal }
    this.#casts = new CastTries({ ...this.#options, ...tries })
    this.#replier = new Replier(options.transport, options.logger, this.#silence.signal)
    this.#calls = new Calls({ endpoints: this.#endpoints, replier: this.#replier, signal })
  }

  get service(): string {
    return this.#options.bindings[0].api.service
  }

  get server(): string {
    return this.#options.server
  }

  /** All hands are busy. */
  get isFull(): boolean {
    return this.#limiter.isFull
  }

  /** It takes what waits by the clock: mostly its queue has no consumer. */
  get isGathering(): boolean {
    return this.#gatherMs !== undefined
  }

  /** How many requests have come by this server's own name, pings not counted. */
  get heardByName(): number {
    return this.#heardByName
  }

  /** Those of its queues whose length matters: the shared one, where it has that, and the one by its name. */
  get queues(): readonly string[] {
    return this.#isOnlyByName ? [this.#ownQueue] : [this.#topic, this.#ownQueue]
  }

  /** From start to drain: messages are taken. */
  get isServing(): boolean {
    return this.#listener !== undefined && this.#drained === undefined
  }

  /**
   * When what came last from a queue was sent, in milliseconds since 1970: whatever still waits in it is younger.
   * Undefined: nothing has come from it yet, or nobody observes.
   */
  lastTakenSentAtMs(queue: string): number | undefined {
    return this.#lastTaken.get(queue)
  }

  /** Resolves once requests can arrive. */
  async start(): Promise<void> {
    const { transport, names, server, concurrency } = this.#options
    await transport.declare(deadLettersOf(names), this.#abort.signal)
    const gatherMs = this.#gatherMs
    const kind = this.#isOnlyByName ? 'directed' : 'server'
    const source = { kind, exchange: names.exchange, topic: this.#topic, server } as const
    const options = { prefetch: concurrency, ...(gatherMs !== undefined && { gatherMs }) }
    const listener = await transport.listen(source, (delivery) => this.#accept(delivery), options)
    this.#listener = listener
    if (this.#drained !== undefined) await listener.close()
  }

  /**
   * Does a cast to this service at once, which a sender in this process has stored: without the broker, while one of the hands for
   * that is free. Undefined: send it. Who rejects has not done it.
   */
  doAtHand({ to, body, headers }: DurableMessage): Promise<void> | undefined {
    const isForUs = to.kind === 'topic' && to.topic === this.#topic && to.exchange === this.#options.names.exchange
    if (!isForUs || !this.isServing || this.#atHand.isFull) return undefined
    return this.#atHand.run(async () => {
      const request = decodeRequest(decodeEnvelope(Buffer.from(body), CONTENT_TYPE), headers)
      await this.#once.run(request.uniqueId, async () => {
        await this.#endpoints.run(request, this.#endpoints.find(request))
        return true
      })
    })
  }

  /** Takes nothing until it is started again. What is in hand may end, within two seconds; the rest goes back. */
  async pause(): Promise<void> {
    const listener = this.#listener
    this.#listener = undefined
    await listener?.stop()
    await endedWithin(PAUSE_MS, this.#idle())
    await listener?.close()
  }

  /**
   * Takes nothing new, finishes what runs, answers it, closes.
   * @param graceMs after it, running work is told to stop and its casts go back to the queue
   */
  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs)
    return this.#drained
  }

  async #drain(graceMs: number): Promise<void> {
    const reason = new ServiceStopping('the worker is stopping')
    const ends = [
      () => this.#abort.abort(reason),
      () => this.#abandonment.abandon(reason),
      () => this.#silence.abort(reason),
    ]
    const timers = ends.map((end, index) => setTimeout(end, graceMs + index * LAST_WORDS_MS))
    this.#stopped = this.#listener?.stop() ?? Promise.resolve()
    await this.#stopped
    const idle = this.#idle()
    await endedWithin(graceMs + ends.length * LAST_WORDS_MS, idle)
    await endedWithin(LAST_WORDS_MS, this.#replier.idle())
    this.#silence.abort(reason)
    for (const timer of timers) clearTimeout(timer)
    await this.#listener?.close()
  }

  #idle(): Promise<unknown> {
    return Promise.all([this.#limiter.idle(), this.#atHand.idle(), this.#pings.idle()])
  }

  /** Waits unacknowledged while all hands are busy: the prefetch then leaves the next request to another server. */
  #accept(delivery: Delivery): void {
    // Who asks whether the server lives is not told how busy it is.
    const asksForLife = isPing(delivery)
    if (!asksForLife && delivery.queue === this.#ownQueue) this.#heardByName++
    if (this.#observer !== undefined) this.#note(delivery, this.#observer)
    const hands = asksForLife ? this.#pings : this.#limiter
    void hands.run(() => this.#handle(delivery).catch((error: unknown) => this.#giveBack(delivery, error)))
  }

  #note({ queue, sentAtMs, deliveryCount }: Delivery, observer: BusObserver): void {
    // Python's messages do not say when they were sent: then it is known since now.
    this.#lastTaken.set(queue, sentAtMs ?? Date.now())
    // A queue that is emptied in gathers counts some that were never sent.
    if (deliveryCount > 1 && this.#gatherMs === undefined) observer.redelivered()
  }

  /** What keeps us from settling a message (no connection, mostly) would meet it again at once, so there is a pause. */
  async #giveBack(delivery: Delivery, error: unknown): Promise<void> {
    this.#options.logger.error({ err: error }, 'a message could not be settled; it goes back to its queue')
    await pause(this.#options.retryDelayMs, this.#abort.signal)
    delivery.requeue()
  }

  async #handle(delivery: Delivery): Promise<void> {
    // Whoever has it now does the work; a call must not be done twice.
    if (delivery.lost) return
    const refused = this.#senders.refusalOf(delivery)
    if (refused !== undefined) return await this.#refuse(delivery, refused)
    let request: Request
    try {
      request = decodeRequest(decodeMessage(delivery), delivery.headers)
    } catch (error) {
      return await this.#refuse(delivery, toSevbusError(error))
    }
    if (request.reply !== undefined) return await this.#calls.serve(delivery, request, request.reply)
    if (this.#stopped !== undefined) {
      // Only after the stop: before, the broker could hand it straight back to us.
      await this.#stopped
      return delivery.requeue()
    }
    const outcome = await this.#once.run(request.uniqueId, () => this.#serve(delivery, request))
    if (outcome === 'repeat') delivery.ack()
  }

  async #refuse(delivery: Delivery, error: SevbusError): Promise<void> {
    this.#observer?.refused(error.code)
    const { reply, method = 'malformed message', requestId: request_id } = salvage(delivery)
    const facts = { what: method, request_id, user_id: delivery.userId, code: error.code, reason: error.message }
    this.#options.logger.warn(facts, 'a message was refused')
    if (reply === undefined) return await this.#parking.settle(delivery, error, { method, context: { request_id } })
    delivery.ack()
    await this.#replier.failure(reply, encodeFailure(error))
  }

  /** @returns whether a repeat of the message has nothing to do any more */
  async #serve(delivery: Delivery, request: Request): Promise<boolean> {
    let found: Dispatch
    try {
      found = this.#endpoints.find(request)
    } catch (error) {
      this.#endpoints.logFailure(request, error)
      await this.#parking.settle(delivery, toSevbusError(error), request)
      return false
    }
    if (found.method.kind === 'cast') return await this.#casts.serve(delivery, request, found)
    await this.#calls.serveUnanswered(delivery, request, found)
    return true
  }
}
