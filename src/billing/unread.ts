import type { AnyNotification } from '../notifications/notification.ts'
import type { UsageFact } from './usage-fact.ts'

/** A notification that is billed by and that could not be read: kept whole, so that nothing of it is lost. */
export interface Unread {
  readonly message_id: string
  /** What it tells of; empty: nothing that is known. */
  readonly event_type: string
  readonly notification: AnyNotification
  readonly reason: string
}

/** Both have one message id: what the later one tells otherwise. An earlier release may have read less of the first. */
export function clashOf(before: UsageFact, fact: UsageFact): readonly Unread[] {
  const [was, is] = [before, fact] as unknown as readonly [Readonly<Record<string, unknown>>, typeof fact]
  const differing = Object.entries(is).filter(
    ([key, value]) => key in was && JSON.stringify(was[key]) !== JSON.stringify(value),
  )
  if (differing.length === 0) return []
  const words = differing.map(
    ([key, value]) => `${key} was ${JSON.stringify(was[key])} and is ${JSON.stringify(value)}`,
  )
  // The same again is the same, and what differs again has a name of its own.
  const others = differing.map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(', ')
  const id = `${fact.message_id}, otherwise: ${others}`.slice(0, 500)
  return [asUnread(fact, id, `instance ${fact.instance_uuid} has a fact with the id of this one: ${words.join('; ')}`)]
}

/** The notification is of no type, so that no release reads it again: it is a fact, and no notification. */
export function asUnread(fact: object & { readonly event_type?: unknown }, message_id: string, reason: string): Unread {
  const event_type = typeof fact.event_type === 'string' ? fact.event_type : ''
  const notification = {
    message_id,
    publisher_id: null,
    event_type: null,
    priority: null,
    timestamp: null,
    payload: fact,
  }
  return { message_id, event_type, notification, reason: reason.slice(0, 1000) }
}
