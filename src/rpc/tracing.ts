import {
  type Attributes,
  context as active,
  type Context,
  isSpanContextValid,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { toSevbusError } from '../errors.ts'
import type { Api, Method } from './contract.ts'
import type { RequestContext } from './request-context.ts'
import { spanContextOf, traceHeaders } from './trace-context.ts'

/** Without an SDK in the process, its spans record nothing and carry on whatever trace the request came with. */
const NAME = 'sevbus'
const tracer = trace.getTracer(NAME)

export interface SpanDraft {
  readonly name: string
  readonly kind: 'internal' | 'client' | 'server' | 'producer' | 'consumer'
  readonly attributes: Attributes
}

const KINDS = {
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
  server: SpanKind.SERVER,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
}

/** What is asked of a service, as OpenTelemetry's conventions for RPC name it: `conductor/build_instances`. */
export function sentSpan(api: Api, method: Method): SpanDraft {
  return rpcSpan(method.kind === 'call' ? 'client' : 'producer', api, method)
}

/** The same on the server's side. */
export function servedSpan(api: Api, method: Method, server: string): SpanDraft {
  const draft = rpcSpan(method.kind === 'call' ? 'server' : 'consumer', api, method)
  return { ...draft, attributes: { ...draft.attributes, 'sevbus.server': server } }
}

function rpcSpan(kind: SpanDraft['kind'], { service }: Api, { wire }: Method): SpanDraft {
  const attributes = { 'rpc.system': 'oslo.messaging', 'rpc.service': service, 'rpc.method': wire }
  return { name: `${service}/${wire}`, kind, attributes }
}

/**
 * Runs `work` in a span of the request's trace: below the span that runs now, unless that is of another trace (of the
 * request that happened to start a loop).
 *
 * @param work given the request as a part of the span, for what it sends or stores
 */
export function inSpan<T>(
  draft: SpanDraft,
  request: RequestContext,
  work: (context: RequestContext) => Promise<T>,
): Promise<T> {
  return isUntraced() ? work(request) : inSpanBelow(parentOf(request), draft, request, work)
}

/** Runs `work` on a request that has come: below its sender's span, whatever runs here. */
export function inReceivedSpan<T>(
  draft: SpanDraft,
  request: RequestContext,
  work: (context: RequestContext) => Promise<T>,
): Promise<T> {
  return isUntraced() ? work(request) : inSpanBelow(below(spanContextOf(request)), draft, request, work)
}

async function inSpanBelow<T>(
  parent: Context,
  draft: SpanDraft,
  request: RequestContext,
  work: (context: RequestContext) => Promise<T>,
): Promise<T> {
  const { span, context } = begin(draft, parent, request)
  return await run(span, parent, () => work(context))
}

/**
 * Runs `work` on messages that have come: below the span of the sender if it is one message, else linked to all.
 * @param headers of each
 */
export async function inConsumedSpan<T>(
  draft: () => SpanDraft,
  headers: readonly Readonly<Record<string, unknown>>[],
  work: () => Promise<T>,
): Promise<T> {
  const senders = headers.flatMap((each) => spanContextOf(each) ?? [])
  if (senders.length === 0 && isUntraced()) return await work()
  const { name, kind, attributes } = draft()
  const isOne = headers.length === 1
  const links = isOne ? [] : senders.map((context) => ({ context }))
  const parent = below(isOne ? senders[0] : undefined)
  return await run(tracer.startSpan(name, { kind: KINDS[kind], attributes, links }, parent), parent, work)
}

/** Makes a message that is sent later: its receiver's span is below this one, which ends at once. */
export function madeInSpan<T>(draft: SpanDraft, request: RequestContext, make: (context: RequestContext) => T): T {
  const { span, context } = begin(draft, parentOf(request), request)
  try {
    return make(context)
  } finally {
    span.end()
  }
}

/** With the request as a part of the span. */
function begin({ name, kind, attributes }: SpanDraft, parent: Context, request: RequestContext) {
  const about = { ...attributes, 'sevbus.request_id': request.request_id }
  const span = tracer.startSpan(name, { kind: KINDS[kind], attributes: about }, parent)
  const own = span.spanContext()
  return { span, context: isSpanContextValid(own) ? { ...request, ...traceHeaders(own) } : request }
}

async function run<T>(span: Span, parent: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await active.with(trace.setSpan(parent, span), work)
  } catch (thrown) {
    if (span.isRecording()) {
      const { code, message } = toSevbusError(thrown)
      span.setAttribute('error.type', code)
      span.setStatus({ code: SpanStatusCode.ERROR, message })
    }
    throw thrown
  } finally {
    span.end()
  }
}

/** Nobody records spans, and nothing runs in one: the request carries on its own trace, without a span made for it. */
function isUntraced(): boolean {
  const provider = trace.getTracerProvider()
  const isRecorded = !(provider instanceof ProxyTracerProvider) || provider.getDelegateTracer(NAME) !== undefined
  return !isRecorded && active.active() === ROOT_CONTEXT
}

function parentOf(request: RequestContext): Context {
  const running = active.active()
  const carried = spanContextOf(request)
  return carried === undefined || trace.getSpanContext(running)?.traceId === carried.traceId ? running : below(carried)
}

function below(span: SpanContext | undefined): Context {
  return span === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, span)
}
