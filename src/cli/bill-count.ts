import type { Recorded } from '../billing/record-notifications.ts'
import { note, printJson } from './output.ts'
import type { GlobalOptions } from './session.ts'

/** So many notifications become one transaction. */
export const BATCH = 2000

/** Adds up what became of notifications. */
export function counter() {
  let sum: Recorded = { notifications: 0, facts: 0, unread: 0 }
  return (more?: Recorded): Recorded => {
    if (more !== undefined)
      sum = {
        notifications: sum.notifications + more.notifications,
        facts: sum.facts + more.facts,
        unread: sum.unread + more.unread,
      }
    return sum
  }
}

export function report(sum: Recorded, { json }: GlobalOptions): void {
  if (json) printJson(sum)
  else note(`${sum.notifications} notifications, ${sum.facts} new facts stored, ${sum.unread} could not be read`)
}
