import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { InvalidMessage } from '../errors.ts'
import { hot } from '../hot-schema.ts'
import { MemEncryption } from '../objects/mem-encryption.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { decodeMessage, type EncodedMessage, encodeEnvelope } from '../rpc/envelope.ts'
import { newMessageId } from '../rpc/message-id.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { withTrace } from '../rpc/trace-context.ts'
import { madeInSpan } from '../rpc/tracing.ts'
import { sentSpan } from './spans.ts'

/** Where consumers of Nova's versioned notifications look by default. */
export const DEFAULT_NOTIFICATION_NAMES: NotificationNames = { exchange: 'nova', topic: 'versioned_notifications' }

export interface NotificationNames {
  readonly exchange: string
  readonly topic: string
}

/**
 * What the guest really runs with, fixed at launch: beside Nova's own keys, where a consumer written for Nova does not
 * look. For image requests as for flavor requests, and untouched by a later edit of the image.
 */
export const SevbusExtension = z.looseObject({
  /** As of a payload: a minor version adds fields. The first that was sent had none. */
  version: z
    .string()
    .regex(/^1\.\d+$/)
    .default('1.0'),
  /** Null: the guest's memory is not encrypted. */
  mem_encryption: MemEncryption.nullable(),
  /** Extra specs of this launch: the request translated into what was claimed. */
  launch_extra_specs: z.record(z.string(), z.string()),
  /** What is claimed for it and charged: one slot of the pool of its model on its host. Null: in clear, or on no host. */
  slot: z.looseObject({ provider: z.string(), resource_class: z.string(), amount: z.int() }).nullable().optional(),
  /** Of this notification among all of its instance: 1, 2, 3, … in the order in which they were so. None is left out. */
  sequence: z.int().min(1).optional(),
})
export type SevbusExtension = z.infer<typeof SevbusExtension>
/** 1.1: `slot`. 1.2: `sequence`. */
export const SEVBUS_EXTENSION_VERSION = '1.2'

/** oslo.messaging's priorities: upper case in a notification, lower case in the names of queues. */
export const NOTIFICATION_PRIORITIES = ['audit', 'debug', 'info', 'warn', 'error', 'critical', 'sample'] as const
export type NotificationPriority = (typeof NOTIFICATION_PRIORITIES)[number]

/**
 * A notification as oslo.messaging carries it, whatever it is about. What a sender leaves out is null. The context of the
 * request is in the keys `_context_…`, as on the wire.
 */
export const AnyNotification = z.looseObject({
  message_id: z.string().min(1).nullable().default(null),
  publisher_id: z.string().nullable().default(null),
  event_type: z.string().nullable().default(null),
  priority: z.string().nullable().default(null),
  timestamp: z.string().nullable().default(null),
  payload: z.unknown().default(null),
})
export type AnyNotification = z.infer<typeof AnyNotification>

/** A notification as oslo.messaging carries it, with a versioned payload. */
export const Notification = z.looseObject({
  message_id: z.string().min(1),
  publisher_id: z.string(),
  event_type: z.string(),
  priority: z.string(),
  timestamp: z.string(),
  payload: z.looseObject({
    'nova_object.name': z.string(),
    'nova_object.namespace': z.string(),
    'nova_object.version': z.string(),
    // Not z.record, which asks of each key whether it is a text: as dear as all else of it.
    'nova_object.data': z.looseObject({}),
    sevbus: SevbusExtension.optional(),
  }),
})
export type Notification = z.infer<typeof Notification>

export interface NotificationDraft {
  /** `instance.create.end`: object, action, phase. */
  readonly event_type: string
  readonly priority: Uppercase<NotificationPriority>
  /** `nova-compute:<host>`. */
  readonly publisher_id: string
  readonly context: RequestContext
  readonly payload: object
  /** Beside the payload; then it is numbered among those of its key, as it is stored. */
  readonly extension?: Omit<SevbusExtension, 'sequence'>
  readonly orderingKey: string
  readonly at: Date
}

/** Keys of the request context that may leave the house; tokens and anything unknown stay. */
const CONTEXT_KEYS = ['request_id', 'user_id', 'project_id', 'global_request_id'] as const

/** A notification that is not sent yet: to be stored together with the fact it reports. */
export function notificationMessage(names: NotificationNames, draft: NotificationDraft): DurableMessage {
  const context = CONTEXT_KEYS.filter((key) => draft.context[key] !== undefined).map((key) => [
    `_context_${key}`,
    draft.context[key],
  ])
  const { exchange, topic } = names
  const mark = draft.extension && randomUUID()
  const payload = mark ? { ...draft.payload, sevbus: { ...draft.extension, sequence: mark } } : draft.payload
  return madeInSpan(sentSpan(topic, draft.event_type), draft.context, (traced) => ({
    to: { kind: 'notification', exchange, topic, priority: draft.priority.toLowerCase() },
    body: encodeEnvelope({
      message_id: randomUUID(),
      publisher_id: draft.publisher_id,
      event_type: draft.event_type,
      priority: draft.priority,
      payload,
      timestamp: pythonTimestamp(draft.at),
      _unique_id: newMessageId(),
      ...Object.fromEntries(context),
    }),
    mandatory: false,
    ...withTrace(traced),
    orderingKey: draft.orderingKey,
    // With its quotes, for a number has none; and they are escaped, for a message is a text within a message.
    ...(mark && { numberMark: `\\"${mark}\\"` }),
  }))
}

/**
 * What every notification of ours fulfils, and asks no more of an object than of the keys that count. One that does is handed on as it
 * was read: a copy of all its keys would cost as much as all else that is done with it.
 */
const WellFormed = z.object({
  ...Notification.shape,
  payload: z.object({
    ...Notification.shape.payload.shape,
    'nova_object.data': z.object({}),
    sevbus: z.object({ ...SevbusExtension.shape, version: z.string().regex(/^1\.\d+$/) }).optional(),
  }),
})

/** @throws InvalidMessage naming what is wrong */
export function decodeNotification(message: EncodedMessage): Notification {
  const decoded = decodeMessage(message)
  if (hot(WellFormed).safeParse(decoded).success) return decoded as Notification
  return parsed(Notification, decoded, 'a versioned notification')
}

/** @throws InvalidMessage naming what is wrong */
export function decodeAnyNotification(message: EncodedMessage): AnyNotification {
  return parsed(AnyNotification, decodeMessage(message), 'a notification')
}

function parsed<T>(schema: z.ZodType<T>, decoded: unknown, what: string): T {
  const result = schema.safeParse(decoded)
  if (result.success) return result.data
  const fields = result.error.issues.map((issue) => issue.path.join('.')).join(', ')
  throw new InvalidMessage(`not ${what}: ${fields}`, { fields })
}

/** `2026-11-23 03:13:11.563000`: Python's str() of a naive UTC datetime. */
function pythonTimestamp(at: Date): string {
  const iso = at.toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}000`
}
