import type { AnyNotification } from '../notifications/notification.ts'
import { cleanText } from '../objects/text.ts'
import type { Ledger, Unread } from './ledger.ts'
import { isBilled, readFact } from './read-fact.ts'
import type { UsageFact } from './usage-fact.ts'

export interface Recorded {
  /** Notifications that came. */
  readonly notifications: number
  /** Facts of them that were new. */
  readonly facts: number
  readonly unread: number
}

const MAX_REASON = 1000
const MAX_ID = 255

/** Stores what these notifications tell about use, all in one transaction: when it resolves they may be forgotten. */
export async function recordNotifications(
  ledger: Ledger,
  notifications: readonly AnyNotification[],
): Promise<Recorded> {
  const facts = new Map<string, UsageFact>()
  const unread = new Map<string, Unread>()
  for (const notification of notifications) {
    if (!isBilled(notification)) continue
    try {
      const fact = readFact(notification)
      if (fact !== undefined) facts.set(fact.message_id, fact)
    } catch (error) {
      // Tried again it would be no better: it is kept for a person, and holds up nobody.
      const { message_id, event_type, timestamp } = notification
      const id = cleanText(message_id ?? `none, ${event_type} at ${timestamp}`, MAX_ID)
      unread.set(id, { message_id: id, notification, reason: cleanText((error as Error).message, MAX_REASON) })
    }
  }
  const stored = await ledger.store([...facts.values()], [...unread.values()])
  return { notifications: notifications.length, facts: stored, unread: unread.size }
}
