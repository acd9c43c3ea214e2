/** An audit period of which a host has told something. */
export interface AuditedPeriod {
  readonly host: string | null
  readonly beginning: string
  readonly ending: string
}

const DAY_S = 86_400
/** An hour, a day, a month, a year: what `instance_usage_audit_period` may be. */
const LENGTHS_S = new Set([3600, ...[1, 28, 29, 30, 31, 365, 366].map((days) => days * DAY_S)])

/**
 * Nova tells `instance.exists` with some operations, too, of the period that has only begun, up to now, and of that instance alone:
 * that says nothing of others. Older payloads do not say who has asked: there a period that has its length by chance is taken for a
 * whole one. Source: nova/compute/manager.py, notify_usage_exists with current_period.
 */
export function isWhole({ beginning, ending }: Pick<AuditedPeriod, 'beginning' | 'ending'>): boolean {
  return LENGTHS_S.has((Date.parse(ending) - Date.parse(beginning)) / 1000)
}
