import { InvalidMessage } from '../errors.ts'
import { hot } from '../hot-schema.ts'
import { encodeEnvelope, type JsonObject } from './envelope.ts'
import { newMessageId } from './message-id.ts'
import { newRequestContext, RequestContext } from './request-context.ts'
import { spanContextOf, TRACE_KEYS, traceHeaders } from './trace-context.ts'

/** AMQP's short string: no queue has a longer name. */
const MAX_NAME_LENGTH = 255
const MAX_VERSION_LENGTH = 40
const CONTEXT_PREFIX = '_context_'
/** A longer wait for a sign of life overflows Node's timers; more signs than asked for harm nobody. */
const MAX_MONITOR_SECONDS = 3600

export interface Request {
  readonly method: string
  readonly args: JsonObject
  readonly namespace: string | undefined
  readonly version: string
  readonly context: RequestContext
  readonly uniqueId: string | undefined
  /** Calls only. Its presence is what makes a server reply. */
  readonly reply:
    | { readonly msgId: string; readonly queue: string; readonly monitorSeconds: number | undefined }
    | undefined
}

export interface RequestDraft {
  readonly method: string
  readonly args: unknown
  readonly namespace: string | undefined
  readonly version: string
  readonly context: RequestContext
  readonly reply?: { readonly msgId: string; readonly queue: string; readonly monitorSeconds: number | undefined }
}

/** Writes a request as oslo.messaging does; keys and their order as observed on its wire. Its trace goes in the headers. */
export function encodeRequest({ method, args, namespace, version, context, reply }: RequestDraft): string {
  const message: Record<string, unknown> = { method, args }
  if (namespace !== undefined) message.namespace = namespace
  message.version = version
  if (reply !== undefined) {
    message._msg_id = reply.msgId
    message._reply_q = reply.queue
    message._timeout = reply.monitorSeconds ?? null
  }
  message._unique_id = newMessageId()
  for (const [key, value] of Object.entries(context)) {
    if (!TRACE_KEYS.has(key)) message[`${CONTEXT_PREFIX}${key}`] = value
  }
  return encodeEnvelope(message)
}

/** @throws InvalidMessage when it is no request at all; an unknown method is for the dispatcher to say */
export function decodeRequest(message: JsonObject, headers: JsonObject = {}): Request {
  const { method, args = {}, namespace, version: asked = '1.0', _unique_id: uniqueId } = message
  // Python's rule: a version that is missing is the first, and null is none that anybody serves, called by this text.
  const version = asked === null ? 'None' : asked
  if (!isName(method)) throw new InvalidMessage('method is missing, or not a name')
  if (typeof args !== 'object' || args === null || Array.isArray(args))
    throw new InvalidMessage('args is not an object')
  if (!isName(version) || version.length > MAX_VERSION_LENGTH) throw new InvalidMessage('version is not a version')
  // An empty one is a namespace that nobody serves, as with Python: for the dispatcher to say.
  if (namespace !== undefined && namespace !== null && namespace !== '' && !isName(namespace)) {
    throw new InvalidMessage('namespace is not a name')
  }
  return {
    method,
    args: args as JsonObject,
    namespace: namespace ?? undefined,
    version,
    context: decodeContext(message, headers),
    uniqueId: isName(uniqueId) ? uniqueId : undefined,
    reply: decodeReplyAddress(message),
  }
}

function decodeReplyAddress(message: JsonObject): Request['reply'] {
  const { _msg_id: msgId, _reply_q: queue, _timeout: monitor } = message
  if (msgId === undefined || msgId === null) return undefined
  if (!isName(msgId) || !isName(queue)) throw new InvalidMessage('_msg_id or _reply_q is not a name')
  // Python's rule: from 2 up, and anything else is no wish at all.
  const wanted = typeof monitor === 'number' && monitor >= 2
  return { msgId, queue, monitorSeconds: wanted ? Math.min(monitor, MAX_MONITOR_SECONDS) : undefined }
}

function isName(value: unknown): value is string {
  if (typeof value !== 'string' || value === '') return false
  // UTF-8 has at most three bytes for each of JavaScript's characters; to count them is dear.
  return value.length <= MAX_NAME_LENGTH / 3 || Buffer.byteLength(value) <= MAX_NAME_LENGTH
}

/** A peer's context may lack what ours always has: then the request gets an id here, where it enters. */
function decodeContext(message: JsonObject, headers: JsonObject): RequestContext {
  const flat: Record<string, unknown> = {}
  for (const key in message) {
    const isContext = key.startsWith(CONTEXT_PREFIX) && key !== '_context___proto__'
    const name = isContext ? key.slice(CONTEXT_PREFIX.length) : ''
    if (isContext && !TRACE_KEYS.has(name)) flat[name] = message[key]
  }
  flat.request_id ??= newRequestContext().request_id
  const span = spanContextOf(headers)
  if (span !== undefined) Object.assign(flat, traceHeaders(span))
  const context = hot(RequestContext).safeParse(flat)
  if (context.success) return context.data
  throw new InvalidMessage(
    `the request context is wrong: ${context.error.issues.map((i) => i.path.join('.')).join(', ')}`,
  )
}
