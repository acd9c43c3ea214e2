import type { AnyNotification } from '../notifications/notification.ts'
import { type Numbered, saidOf } from '../notifications/sequence-number.ts'
import { cleanText } from '../objects/text.ts'
import type { Ledger } from './ledger.ts'
import { isBilled, readFact } from './read-fact.ts'
import type { Unread } from './unread.ts'
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
  readonly #facts: UsageFact[] = []
  readonly #unread = new Map<string, Unread>()
  /** Of all that came, billed or not: they are not lost. */
  readonly #numbers: Numbered[] = []
  #notifications = 0

  get notifications(): number {
    return this.#notifications
  }

  add(notification: AnyNotification): void {
    this.#notifications += 1
    this.#note(notification)
    if (!isBilled(notification)) return
    try {
      const fact = readFact(notification)
      if (fact !== undefined) this.#facts.push(fact)
    } catch (error) {
      // Tried again it would be no better: it is kept for a person, and holds up nobody.
      const id = cleanText(notification.message_id ?? `none, ${whatItIs(notification)}`, MAX_ID)
      const reason = cleanText((error as Error).message, MAX_REASON)
      this.#unread.set(id, { message_id: id, event_type: notification.event_type ?? '', notification, reason })
    }
  }

  /** One that nothing is billed by, and that nobody misses. */
  passOver(): void {
    this.#notifications += 1
  }

  #note(notification: AnyNotification): void {
    const { uuid, sequence } = saidOf(notification.payload)
    if (typeof uuid === 'string' && typeof sequence === 'number') this.#numbers.push({ uuid, sequence })
  }

  /** All of it in one transaction: when it resolves the notifications may be forgotten. */
  async storeIn(ledger: Ledger): Promise<Recorded> {
    const stored = await ledger.store(this.#facts, [...this.#unread.values()])
    await ledger.followed.found(this.#numbers)
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

function whatItIs(notification: AnyNotification): string {
  const { uuid = null, sequence = null } = saidOf(notification.payload)
  return `${notification.event_type} of ${uuid}, number ${sequence}, at ${notification.timestamp}`
}
