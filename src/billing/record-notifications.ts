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

/** What notifications tell about use, gathered to be stored together. Each is read as it comes, and then it is needed no more. */
export class Intake {
  readonly #facts = new Map<string, UsageFact>()
  readonly #unread = new Map<string, Unread>()
  #notifications = 0

  get notifications(): number {
    return this.#notifications
  }

  add(notification: AnyNotification): void {
    this.#notifications += 1
    if (!isBilled(notification)) return
    try {
      const fact = readFact(notification)
      if (fact !== undefined) this.#facts.set(fact.message_id, fact)
    } catch (error) {
      // Tried again it would be no better: it is kept for a person, and holds up nobody.
      const { message_id, event_type, timestamp } = notification
      const id = cleanText(message_id ?? `none, ${event_type} at ${timestamp}`, MAX_ID)
      this.#unread.set(id, { message_id: id, notification, reason: cleanText((error as Error).message, MAX_REASON) })
    }
  }

  /** All of it in one transaction: when it resolves the notifications may be forgotten. */
  async storeIn(ledger: Ledger): Promise<Recorded> {
    const stored = await ledger.store([...this.#facts.values()], [...this.#unread.values()])
    return { notifications: this.#notifications, facts: stored, unread: this.#unread.size }
  }
}

/** Stores what these notifications tell about use, all in one transaction: when it resolves they may be forgotten. */
export async function recordNotifications(
  ledger: Ledger,
  notifications: readonly AnyNotification[],
): Promise<Recorded> {
  const intake = new Intake()
  for (const notification of notifications) intake.add(notification)
  return intake.storeIn(ledger)
}
