import { randomUUID } from 'node:crypto'
import { z } from 'zod'

/**
 * Who asks, and under which id the request is followed through logs and notifications.
 * Travels flat as `_context_*` keys; keys we do not know are passed on unchanged, as oslo.context does.
 */
export const RequestContext = z.looseObject({
  /** `req-` and a uuid: OpenStack's form, so that one grep follows a request through both worlds. */
  request_id: z.string().min(1).max(128),
  user_id: z.string().max(255).nullish(),
  project_id: z.string().max(255).nullish(),
  /** The trace it belongs to, as W3C Trace Context writes it. Travels in the headers; what is malformed is left out. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
})
export type RequestContext = z.infer<typeof RequestContext>

/** @param known `traceparent` and `tracestate` of an HTTP request make what follows a part of its trace */
export function newRequestContext(known: Partial<Omit<RequestContext, 'request_id'>> = {}): RequestContext {
  return { request_id: `req-${randomUUID()}`, ...known }
}
