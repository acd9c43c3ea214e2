import { hot } from '../hot-schema.ts'
import { cleanText } from '../objects/text.ts'
import { RequestContext } from '../rpc/request-context.ts'

/** What is kept of a request's context and goes with every message about it; tokens of callers are not. */
const KEPT = ['request_id', 'user_id', 'project_id', 'global_request_id', 'traceparent', 'tracestate'] as const

export function storedContext(context: RequestContext): RequestContext {
  const kept = KEPT.flatMap((key) => (typeof context[key] === 'string' ? [[key, cleanText(context[key], 512)]] : []))
  return hot(RequestContext).parse(Object.fromEntries(kept))
}
