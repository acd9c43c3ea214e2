import { createTraceState, isSpanContextValid, type SpanContext } from '@opentelemetry/api'
import type { RequestContext } from './request-context.ts'

/**
 * Which trace a request belongs to, as W3C Trace Context has it (https://www.w3.org/TR/trace-context/). In the process
 * it is part of the request context, so it is stored with whatever a request leaves to be done later; on the wire it is
 * in the headers of the message, where OpenTelemetry looks for it and oslo.messaging does not.
 */
export type TraceHeaders = Readonly<Pick<RequestContext, 'traceparent' | 'tracestate'>>

/** Keys of the request context that travel as headers. */
export const TRACE_KEYS: ReadonlySet<string> = new Set(['traceparent', 'tracestate'])

/** Version, trace id, id of the parent span, flags; what later versions add comes behind. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const MAX_TRACEPARENT_LENGTH = 255
/** The standard asks everyone to pass on at least so much. */
const MAX_TRACESTATE_LENGTH = 512

/** @returns undefined when there is none, or none that is well formed: the request then begins a trace of its own */
export function spanContextOf({ traceparent, tracestate }: Readonly<Record<string, unknown>>): SpanContext | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > MAX_TRACEPARENT_LENGTH) return undefined
  const [, version, traceId = '', spanId = '', flags = '', more] = TRACEPARENT.exec(traceparent) ?? []
  if (version === undefined || (version === '00' && more !== undefined)) return undefined
  const span = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  if (!isSpanContextValid(span)) return undefined
  if (typeof tracestate !== 'string' || tracestate === '' || tracestate.length > MAX_TRACESTATE_LENGTH) return span
  return { ...span, traceState: createTraceState(tracestate) }
}

/** As headers of a message, and as part of a request context. */
export function traceHeaders({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceHeaders {
  const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
  const tracestate = traceState?.serialize()
  return { traceparent, ...(tracestate && { tracestate }) }
}

/** What goes with a message about this request: headers, when it belongs to a trace. */
export function withTrace(context: RequestContext): { readonly headers?: TraceHeaders } {
  const span = context.traceparent === undefined ? undefined : spanContextOf(context)
  return span === undefined ? {} : { headers: traceHeaders(span) }
}
