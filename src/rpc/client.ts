import type { Logger } from 'pino'
import type { z } from 'zod'
import {
  InvalidArguments,
  MessageUndeliverable,
  MessagingTimeout,
  NoSuchServer,
  RemoteError,
  ServerLost,
  ServiceStopping,
} from '../errors.ts'
import { hot } from '../hot-schema.ts'
import type { Api, CallOptions, ClientOf, Method } from './contract.ts'
import { Deadline } from './deadline.ts'
import { describeIssues, wrongArguments } from './dispatcher.ts'
import type { DurableMessage } from './durable-message.ts'
import { newMessageId } from './message-id.ts'
import { type BusNames, DEFAULT_BUS_NAMES, destinationOf } from './names.ts'
import { type BusObserver, observed } from './observer.ts'
import { ReplyWaiters } from './reply-waiters.ts'
import { encodeRequest } from './request.ts'
import type { RequestContext } from './request-context.ts'
import { AllowedSenders } from './senders.ts'
import { withTrace } from './trace-context.ts'
import { inSpan, madeInSpan, sentSpan } from './tracing.ts'
import {
  blockedText,
  type Delivery,
  type Destination,
  destinationName,
  type Listener,
  type Transport,
} from './transport.ts'

/** oslo.messaging's `rpc_response_timeout`. */
const DEFAULT_TIMEOUT_MS = 60_000

/** A timeout is told so much later at most: who would have taken the message is asked after it. */
const LOOK_MS = 500

/** Below two seconds no server sends signs of life. */
const MIN_MONITOR_SECONDS = 2

export interface RpcClientOptions {
  readonly transport: Transport
  readonly logger: Logger
  readonly names?: BusNames
  readonly timeoutMs?: number
  /** Users of the broker whose replies are taken; without any, everyone's. */
  readonly allowedSenders?: readonly string[]
  readonly observer?: BusObserver | undefined
}

/** Speaks to servers by their contracts. One per process: all calls share one reply queue, opened at the first call. */
export class RpcClient {
  readonly #transport: Transport
  readonly #names: BusNames
  readonly #timeoutMs: number
  readonly #waiters: ReplyWaiters
  readonly #observer: BusObserver | undefined
  readonly #replyQueue = `reply_${newMessageId()}`
  #replies: Listener | undefined
  #opening: Promise<void> | undefined

  constructor({
    transport,
    logger,
    names = DEFAULT_BUS_NAMES,
    timeoutMs = DEFAULT_TIMEOUT_MS,
    allowedSenders,
    observer,
  }: RpcClientOptions) {
    this.#transport = transport
    this.#names = names
    this.#timeoutMs = timeoutMs
    this.#observer = observer
    this.#waiters = new ReplyWaiters(logger, new AllowedSenders(transport, allowedSenders), observer)
  }

  /** A typed client: one function per method of the contract. */
  of<A extends Api>(api: A): ClientOf<A> {
    const methods = Object.entries(api.methods).map(([name, method]) => {
      const span = sentSpan(api, method)
      const send = (context: RequestContext, args: unknown, options: CallOptions = {}) =>
        inSpan(span, context, (traced) =>
          observed(this.#observer, 'sending', api, method, () =>
            method.kind === 'call'
              ? this.#call(api, method, traced, args, options)
              : this.#cast(api, method, traced, args, options),
          ),
        )
      return [name, send]
    })
    return Object.freeze(Object.fromEntries(methods)) as ClientOf<A>
  }

  /** A cast that is not sent yet: for an outbox or a journal, which sends it after what it reports is durable. */
  message<A extends Api, K extends keyof A['methods'] & string>(
    api: A,
    name: K,
    context: RequestContext,
    args: z.input<A['methods'][K]['input']>,
    options: { readonly server?: string; readonly orderingKey: string },
  ): DurableMessage {
    const method = api.methods[name] as Method
    return madeInSpan(sentSpan(api, method), context, (traced) => ({
      to: destinationOf(this.#names, api, options),
      body: encodeRequest({ ...header(api, method), context, args: checked(method, args) }),
      mandatory: true,
      ...withTrace(traced),
      orderingKey: options.orderingKey,
    }))
  }

  /** Calls that still wait fail: their replies have nowhere to go. */
  async close(): Promise<void> {
    this.#waiters.rejectAll(new ServiceStopping('the client was closed while it waited for a reply'))
    await this.#opening?.catch(() => {})
    await this.#replies?.close()
  }

  async #cast(api: Api, method: Method, context: RequestContext, args: unknown, options: CallOptions): Promise<void> {
    const to = destinationOf(this.#names, api, options)
    const what = `${destinationName(to)}.${method.wire}`
    const body = encodeRequest({ ...header(api, method), context, args: checked(method, args) })
    using deadline = new Deadline(what, this.#timeoutOf(method, options), options.signal)
    const { expirationMs } = options
    const given = expirationMs !== undefined && { expirationMs }
    const message = { body, mandatory: !options.fanout, ...given, ...withTrace(context) }
    try {
      deadline.throwIfOver()
      await deadline.race(this.#transport.publish(to, message, deadline))
    } catch (error) {
      throw await this.#explained(unsent(what, error), to)
    }
  }

  async #call(api: Api, method: Method, context: RequestContext, args: unknown, options: CallOptions) {
    if (options.fanout)
      throw new InvalidArguments(`${method.wire} has one result, so it cannot be sent to every server`)
    const to = destinationOf(this.#names, api, options)
    const what = `${destinationName(to)}.${method.wire}`
    const timeoutMs = this.#timeoutOf(method, options)
    const monitorSeconds =
      method.monitorTimeoutMs && Math.max(MIN_MONITOR_SECONDS, Math.ceil(method.monitorTimeoutMs / 1000))
    const monitorTimeoutMs = monitorSeconds && monitorSeconds * 1000
    // Nobody waits longer than the monitor: a request that is asked again must not be worked on twice.
    const expirationMs = Math.min(timeoutMs, monitorTimeoutMs ?? timeoutMs)
    const given = { mandatory: true, expirationMs, ...withTrace(context) }
    // Not `using`: compiled for today's Node it costs a call 5 µs.
    const deadline = new Deadline(what, timeoutMs, options.signal)
    try {
      if (this.#replies === undefined) await deadline.race(this.#openReplies())
      for (let mayAskAgain = method.isRead; ; mayAskAgain = false) {
        deadline.throwIfOver()
        const msgId = newMessageId()
        const reply = { msgId, queue: this.#replyQueue, monitorSeconds }
        // The server checks the arguments of a call, and whoever calls is told. A cast has nobody to tell.
        const body = encodeRequest({ ...header(api, method), context, args, reply })
        const result = this.#waiters.wait({ msgId, what, deadline, monitorTimeoutMs })
        // The reply ends the call, even before the confirm; the confirm only lets it fail early.
        const fail = (error: unknown) => this.#waiters.fail(msgId, unsent(what, error))
        this.#transport.publish(to, { ...given, body }, deadline).catch(fail)
        try {
          return checkedResult(method, await result, what)
        } catch (error) {
          if (!mayAskAgain || !(error instanceof ServerLost)) throw error
        }
      }
    } catch (error) {
      throw await this.#explained(error, to)
    } finally {
      deadline[Symbol.dispose]()
    }
  }

  #timeoutOf(method: Method, options: CallOptions): number {
    return options.timeoutMs ?? method.timeoutMs ?? this.#timeoutMs
  }

  /** A timeout says when it was the broker that let us wait, or that nobody is there who would take the message. */
  async #explained(error: unknown, to: Destination): Promise<unknown> {
    if (!(error instanceof MessagingTimeout)) return error
    const { state, blocked } = this.#transport
    const why =
      blocked !== undefined
        ? blockedText(blocked)
        : state === 'connecting'
          ? 'there is no connection to the broker'
          : await this.#whyNobodyAnswers(to)
    return why === undefined ? error : new MessagingTimeout(`${error.message}: ${why}`, { ...error.details, why })
  }

  /** Durable queues outlive their servers, so a message finds its queue and waits there, as with oslo.messaging. */
  async #whyNobodyAnswers(to: Destination): Promise<string | undefined> {
    if (to.kind !== 'topic' && to.kind !== 'server') return undefined
    const queue = destinationName(to)
    const state = await this.#transport.inspect(queue, AbortSignal.timeout(LOOK_MS)).catch(() => undefined)
    return state?.consumers === 0 ? `no server consumes ${queue} now` : undefined
  }

  /** Once for all calls; those that come meanwhile wait for the same. */
  #openReplies(): Promise<void> {
    const source = { kind: 'reply', queue: this.#replyQueue } as const
    const receive = (delivery: Delivery) => this.#waiters.receive(delivery)
    this.#opening ??= this.#transport.listen(source, receive, { prefetch: 0 }).then(
      (listener) => {
        this.#replies = listener
      },
      (error: unknown) => {
        this.#opening = undefined
        throw error
      },
    )
    return this.#opening
  }
}

function header(api: Api, method: Method) {
  return { method: method.wire, namespace: api.namespace, version: method.since }
}

/** The arguments of a cast fail here, before they travel: the server that finds them wrong could tell nobody. */
function checked(method: Method, args: unknown): unknown {
  const parsed = hot(method.input).safeParse(args)
  if (parsed.success) return parsed.data
  throw wrongArguments(method, parsed.error)
}

function checkedResult(method: Method, result: unknown, what: string): unknown {
  const output = hot(method.output).safeParse(result)
  if (output.success) return output.data
  throw new RemoteError(`${what} gave a result that its contract does not have: ${describeIssues(output.error)}`)
}

/** Why a message was not sent, in the words of who asked. */
function unsent(what: string, cause: unknown): unknown {
  if (!(cause instanceof MessageUndeliverable)) return cause
  const fix = 'start a worker that serves it, or check the prefix of the topics'
  return new NoSuchServer(`nobody serves ${what}; ${fix}`, { what, fix }, { cause })
}
