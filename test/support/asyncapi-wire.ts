import type { Method } from '../../src/rpc/contract.ts'
import { priorityOf } from './notification-catalogue.ts'
import type { JsonSchema } from './payload-schemas.ts'

/** How oslo.messaging wraps what is said: the schemas of requests, replies and notifications around their content. */

export function schemaRef(name: string): string {
  return `#/components/schemas/${name}`
}

const ref = (name: string): JsonSchema => ({ $ref: schemaRef(name) })
const text: JsonSchema = { type: 'string' }
const object = (
  properties: Record<string, JsonSchema>,
  required: readonly string[],
  more: JsonSchema = {},
): JsonSchema => ({
  type: 'object',
  properties,
  required: [...required],
  ...more,
})

/** A message on the wire: JSON, with what is said as JSON in a string of it. */
export function contentOf(schema: string) {
  const inner = { type: 'string', contentMediaType: 'application/json', contentSchema: ref(schema) }
  return {
    contentType: 'application/json',
    payload: object({ 'oslo.version': { const: '2.0' }, 'oslo.message': inner as JsonSchema }, [
      'oslo.version',
      'oslo.message',
    ]),
    bindings: { amqp: { contentEncoding: 'utf-8', bindingVersion: '0.3.0' } },
  }
}

export function requestSchema(name: string, method: Method): JsonSchema {
  const asked = { method: { const: method.wire }, version: { const: method.since }, args: ref(`${name}.args`) }
  const required = ['method', 'args', ...(method.kind === 'call' ? ['_msg_id', '_reply_q'] : [])]
  const answer = method.kind === 'call' ? [ref('reply_address')] : []
  return object(asked, required, { allOf: [ref('request_context'), ...answer] })
}

export function replySchema(name: string): JsonSchema {
  return object({ result: { anyOf: [ref(`${name}.result`), { type: 'null' }] } }, ['result'], { allOf: [ref('reply')] })
}

function besides(payload: string, extension: string): JsonSchema {
  return object({ sevbus: ref(extension) }, ['sevbus'], { allOf: [ref(payload)] })
}

/** @param extension what stands beside Nova's keys; undefined: nothing */
export function notificationSchema(
  event: string,
  publisher: string,
  payload: string,
  extension: string | undefined,
): JsonSchema {
  const told = extension === undefined ? ref(payload) : besides(payload, extension)
  const about = {
    event_type: { const: event },
    priority: { const: priorityOf(event).toUpperCase() },
    publisher_id: { type: 'string', pattern: `^${publisher}:` } as JsonSchema,
    payload: told,
  }
  return object(about, Object.keys(about), { allOf: [ref('notification')] })
}

/** What all requests, replies and notifications have. */
export const ENVELOPE_SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  request_context: object(
    {
      _unique_id: { ...text, description: 'Of this message: the same twice is one that was delivered twice.' },
      _context_request_id: text,
      _context_user_id: { type: ['string', 'null'] as never },
      _context_project_id: { type: ['string', 'null'] as never },
    },
    [],
    { description: 'Any other key with the prefix _context_ is passed on as it is.' },
  ),
  reply_address: object(
    {
      _msg_id: text,
      _reply_q: { ...text, description: 'The queue that the reply goes to.' },
      _timeout: {
        type: ['integer', 'null'] as never,
        description: 'Seconds, from 2: the caller wants a sign of life twice in this time.',
      },
    },
    ['_msg_id', '_reply_q'],
  ),
  reply: object(
    {
      failure: {
        anyOf: [
          { ...text, contentMediaType: 'application/json', contentSchema: ref('failure') } as JsonSchema,
          { type: 'null' },
        ],
      },
      ending: { type: 'boolean', description: 'False: no answer but a sign of life.' },
      _msg_id: text,
      _unique_id: text,
    },
    ['failure', 'ending', '_msg_id'],
  ),
  failure: object(
    {
      class: { ...text, description: 'NoValidHost, …: the names of docs/errors.md in Python' },
      module: text,
      message: text,
      tb: { type: 'array', items: text },
      args: { type: 'array' },
      kwargs: { type: 'object', properties: { error_code: text } },
    },
    ['class', 'module', 'message'],
  ),
  notification: object(
    {
      message_id: { ...text, format: 'uuid', description: 'The same twice is one notification.' },
      timestamp: { ...text, pattern: '^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{6}$', description: 'UTC' },
      _unique_id: text,
      _context_request_id: text,
      _context_user_id: { type: ['string', 'null'] as never },
      _context_project_id: { type: ['string', 'null'] as never },
      _context_global_request_id: { type: ['string', 'null'] as never },
    },
    ['message_id', 'timestamp'],
  ),
}
