import type { z } from 'zod'
import { RequestContext } from './request-context.ts'

/** Of one of several requests that travel in one message. */
export const ContextOfOne = RequestContext

/**
 * A call waits for its result and runs at most once. A cast waits for nothing: it is stored by the broker, acknowledged
 * when the endpoint has returned, and delivered again if the server died before that; so its endpoint is idempotent.
 */
export type MethodKind = 'call' | 'cast'

export interface Method<I extends z.ZodType = z.ZodType, O extends z.ZodType = z.ZodType> {
  readonly kind: MethodKind
  /** Name on the wire: snake_case, Nova's where the meaning is Nova's. */
  readonly wire: string
  /** Version of the contract that brought it; clients ask for this one, so older servers can still serve it. */
  readonly since: string
  /** One sentence for the reader of the documentation. */
  readonly summary: string
  readonly input: I
  readonly output: O
  /** Calls only: it changes nothing, so whoever asks and hears that its server was lost asks once more. */
  readonly isRead?: boolean
  /** The whole call, in milliseconds; the client's default when absent. */
  readonly timeoutMs?: number
  /**
   * Casts only: only the latest counts. One that fails is logged and dropped: neither tried again, be it an outage, nor
   * parked; tried later it would tell of the past. Say with `expirationMs` how long it may wait for a server.
   */
  readonly isTransient?: boolean
  /** The server must show signs of life this often (oslo.messaging's call monitor; at least 2000). */
  readonly monitorTimeoutMs?: number
}

export interface Api<M extends Record<string, Method> = Record<string, Method>> {
  /** `conductor`, `scheduler`, `compute`: the topic without its prefix. */
  readonly service: string
  readonly namespace?: string
  /** Version of the whole contract: `major.minor`. Same major and at least the asked minor can serve. */
  readonly version: string
  readonly methods: M
}

/**
 * Declares an RPC interface once: server dispatch, client types and documentation follow from it.
 *
 * @example
 * export const EchoApi = defineApi({
 *   service: 'echo', version: '1.0',
 *   methods: { say: call({ wire: 'say', since: '1.0', summary: '…', input: z.object({…}), output: z.object({…}) }) },
 * })
 */
export function defineApi<const M extends Record<string, Method>>(api: Api<M>): Api<M> {
  return Object.freeze(api)
}

export function call<I extends z.ZodType, O extends z.ZodType>(
  method: Omit<Method<I, O>, 'kind'>,
): Method<I, O> & { readonly kind: 'call' } {
  return { kind: 'call', ...method }
}

export function cast<I extends z.ZodType, O extends z.ZodType>(
  method: Omit<Method<I, O>, 'kind' | 'output'> & { readonly output: O },
): Method<I, O> & { readonly kind: 'cast' } {
  return { kind: 'cast', ...method }
}

/** What an endpoint learns beside its arguments. */
export interface RequestInfo {
  readonly context: RequestContext
  /** Aborts when the worker may wait no longer. Stop, leave nothing half done, throw its reason. */
  readonly signal: AbortSignal
}

/** The server's side of a contract: the compiler checks that every method is there. */
export type Endpoint<A extends Api> = {
  readonly [K in keyof A['methods']]: (
    args: z.output<A['methods'][K]['input']>,
    request: RequestInfo,
  ) => Promise<z.input<A['methods'][K]['output']>>
}

export interface CallOptions {
  /** A server by name; otherwise any of the topic. */
  readonly server?: string
  /** To every server of the topic; casts only. */
  readonly fanout?: boolean
  /** Covers connecting, publishing and waiting. */
  readonly timeoutMs?: number
  /** Casts only, in milliseconds: the broker drops it when it waited longer in a queue. */
  readonly expirationMs?: number
  /** Stops the wait; the server may still do the work. */
  readonly signal?: AbortSignal
}

/** The client's side of a contract. */
export type ClientOf<A extends Api> = {
  readonly [K in keyof A['methods']]: (
    context: RequestContext,
    args: z.input<A['methods'][K]['input']>,
    options?: CallOptions,
  ) => Promise<A['methods'][K]['kind'] extends 'call' ? z.output<A['methods'][K]['output']> : void>
}
