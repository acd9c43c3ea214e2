import type { AnyNotification } from './notification.ts'
import { saidOf } from './sequence-number.ts'

export type Identified = Pick<AnyNotification, 'message_id' | 'event_type' | 'payload'>

/**
 * What is alike when a notification comes twice. The id alone is not: a sender that gives it to two has told of two, and neither
 * may be dropped for the other. Undefined: without an id nobody can tell.
 */
export function identityOf({ message_id, event_type, payload }: Identified): string | undefined {
  if (message_id === null) return undefined
  const { uuid, sequence } = saidOf(payload)
  return `${message_id} ${event_type} ${uuid} ${sequence}`
}
