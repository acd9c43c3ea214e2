import type { HostState } from '../host-state.ts'

/** Known apart, by signs of life. */
const OF_ITS_LIFE: ReadonlySet<string> = new Set<keyof HostState>(['up', 'lastSeenUp', 'secondsSinceSeen'])

/** Is the host the same in all that is chosen by, whether it lives aside? */
export function isSameHost(a: HostState, b: HostState): boolean {
  return sameFields(a, b, OF_ITS_LIFE)
}

/** Of values of JSON, and a field that is undefined is one that is not there. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    for (let n = 0; n < a.length; n++) if (!isSame(a[n], b[n])) return false
    return true
  }
  return sameFields(a, b)
}

function sameFields(a: object, b: object, but?: ReadonlySet<string>): boolean {
  for (const field in a) {
    if (!but?.has(field) && !isSame(a[field as keyof object], b[field as keyof object])) return false
  }
  for (const field in b) if (!(field in a) && b[field as keyof object] !== undefined) return false
  return true
}
