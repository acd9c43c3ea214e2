import type { UsageFact } from './usage-fact.ts'

/**
 * Facts whose moments differ by less are in the order of their numbers. Hosts are warned of whose clock is more than a minute off
 * (scheduler/hosts/report-desk.ts), so two differ by two; the rest is for what is on its way. Beyond it time counts, for
 * numbers come a second time after a database was restored.
 */
const CLOCKS_DIFFER_MS = 600_000

/** In one second, what has no number: what begins is before what changes it, and that before what ends it. */
const RANK: Readonly<Record<UsageFact['kind'], number>> = { begins: 0, changes: 1, exists: 2, ends: 3 }

/** What `instance.exists` tells was so when it was told, be it after the period; an end, when that was. */
export function seenAt({ kind, at, told_at, terminated_at }: UsageFact): string {
  return kind === 'exists' ? (terminated_at ?? told_at ?? at) : at
}

/**
 * Facts of one instance as they were, whenever they came, the same order for the same facts: the earliest is next, or what
 * has a lower number and is not much later. What has no number is where its time is.
 */
export function inOrder(facts: readonly UsageFact[]): readonly UsageFact[] {
  const waiting = facts.map((fact) => ({ fact, ms: Date.parse(seenAt(fact)), isTaken: false })).sort(byTime)
  return waiting.flatMap((head, at) => {
    const found: UsageFact[] = []
    while (!head.isTaken) {
      const next = lowest(waiting, at)
      next.isTaken = true
      found.push(next.fact)
    }
    return found
  })
}

interface Waiting {
  readonly fact: UsageFact
  readonly ms: number
  isTaken: boolean
}

function lowest(waiting: readonly Waiting[], at: number): Waiting {
  const head = waiting[at] as Waiting
  let found = head
  if (head.fact.sequence === undefined) return head
  for (let n = at + 1; n < waiting.length; n += 1) {
    const other = waiting[n] as Waiting
    if (other.ms > head.ms + CLOCKS_DIFFER_MS) break
    if (!other.isTaken && (other.fact.sequence ?? Number.POSITIVE_INFINITY) < (found.fact.sequence as number))
      found = other
  }
  return found
}

function byTime(a: Waiting, b: Waiting): number {
  return (
    a.ms - b.ms ||
    (a.fact.sequence ?? 0) - (b.fact.sequence ?? 0) ||
    RANK[a.fact.kind] - RANK[b.fact.kind] ||
    (a.fact.message_id < b.fact.message_id ? -1 : 1)
  )
}
