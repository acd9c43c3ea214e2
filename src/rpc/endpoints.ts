import type { Logger } from 'pino'
import { SevbusError, toSevbusError } from '../errors.ts'
import type { Abandonment } from './abandonment.ts'
import type { Method } from './contract.ts'
import { type Binding, type Dispatch, dispatch } from './dispatcher.ts'
import { type BusObserver, observed } from './observer.ts'
import type { Request } from './request.ts'
import { inReceivedSpan, type SpanDraft, servedSpan } from './tracing.ts'

export interface EndpointsOptions {
  readonly bindings: readonly [Binding, ...Binding[]]
  readonly server: string
  readonly logger: Logger
  readonly observer: BusObserver | undefined
  /** Running work is to stop. */
  readonly signal: AbortSignal
  /** Work that does not stop is left alone. */
  readonly abandonment: Abandonment
}

/** What a server serves: finds the endpoint of a request and runs it, traced and counted. */
export class Endpoints {
  readonly #options: EndpointsOptions
  readonly #spans = new Map<Method, SpanDraft>()

  constructor(options: EndpointsOptions) {
    this.#options = options
  }

  /** @throws as dispatch does; told to the observer, for no method is there to count it */
  find(request: Request): Dispatch {
    const { bindings, observer } = this.#options
    try {
      return dispatch(bindings, request)
    } catch (error) {
      observer?.refused(toSevbusError(error).code)
      throw error
    }
  }

  /** @throws what the endpoint throws, or the reason for which it was left alone */
  run(request: Request, { method, run }: Dispatch): Promise<unknown> {
    const { bindings, observer, abandonment, signal } = this.#options
    return inReceivedSpan(this.#spanOf(method), request.context, (context) =>
      observed(observer, 'serving', bindings[0].api, method, () => abandonment.race(run({ context, signal }))),
    )
  }

  /** A SevbusError is an answer like any other; anything else is a defect of ours, with its stack. */
  logFailure(request: Request, thrown: unknown): void {
    const { logger } = this.#options
    const facts = { method: request.method, request_id: request.context.request_id }
    if (thrown instanceof SevbusError) logger.info({ ...facts, code: thrown.code, reason: thrown.message }, 'refused')
    else logger.error({ ...facts, err: thrown }, 'endpoint failed')
  }

  /** Made once: its attributes are the same for each request. */
  #spanOf(method: Method): SpanDraft {
    let span = this.#spans.get(method)
    if (span === undefined) {
      span = servedSpan(this.#options.bindings[0].api, method, this.#options.server)
      this.#spans.set(method, span)
    }
    return span
  }
}
