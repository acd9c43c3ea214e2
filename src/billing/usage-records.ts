import type { Charged, UsageFact } from './usage-fact.ts'

/** A stretch of time in which an instance was charged for in one way: what a price is asked for. */
export interface UsageRecord extends Charged {
  readonly instance_uuid: string
  readonly project_id: string | null
  readonly user_id: string | null
  readonly display_name: string | null
  readonly from: string
  /** Null: it goes on. */
  readonly to: string | null
  readonly seconds: number
  /** The notification of its beginning, or of its end, never came: another one tells when it was. */
  readonly inferred: boolean
}

export interface Span {
  /** Null: from the first on. */
  readonly from: string | null
  /** What is open is counted up to here. */
  readonly to: string
}

interface Open {
  readonly from: string
  readonly fact: UsageFact
  readonly inferred: boolean
}

/** In one second, what has no number: what begins is before what changes it, and that before what ends it. */
const RANK: Readonly<Record<UsageFact['kind'], number>> = { begins: 0, changes: 1, exists: 2, ends: 3 }

/** Facts of one instance as they were, whenever they came. */
function inOrder(facts: readonly UsageFact[]): readonly UsageFact[] {
  return facts.toSorted(
    (a, b) =>
      compare(seenAt(a), seenAt(b)) ||
      (a.sequence ?? 0) - (b.sequence ?? 0) ||
      RANK[a.kind] - RANK[b.kind] ||
      compare(a.message_id, b.message_id),
  )
}

/** What `instance.exists` tells was so when it was told, be it after the period; an end, when that was. */
function seenAt({ kind, at, told_at, terminated_at }: UsageFact): string {
  return kind === 'exists' ? (terminated_at ?? told_at ?? at) : at
}

/**
 * How one instance was used, from all facts about it. A beginning that was lost is taken from `launched_at`, which every
 * later notification tells, an end from the `terminated_at` of an `instance.exists`.
 */
export function usageRecords(facts: readonly UsageFact[]): readonly UsageRecord[] {
  const records: UsageRecord[] = []
  let open: Open | undefined
  const close = (to: string, inferred: boolean) => {
    if (open !== undefined) records.push(recordOf(open, to, inferred))
    open = undefined
  }
  for (const fact of inOrder(facts)) {
    // Gone is gone: only a new beginning opens it again.
    if (open === undefined && (records.length === 0 || fact.kind === 'begins')) open = opened(fact)
    if (fact.kind === 'ends') close(fact.at, false)
    else if (fact.kind === 'exists' && fact.terminated_at !== null) close(fact.terminated_at, true)
    else if (open !== undefined && fact.kind !== 'exists' && !isSame(open.fact.charged, fact.charged)) {
      close(fact.at, false)
      open = { from: fact.at, fact, inferred: false }
    }
  }
  if (open !== undefined) records.push(recordOf(open, null, false))
  return joined(records.filter(({ from, to }) => to === null || from < to))
}

/** What was otherwise for less than a second was never so. */
function joined(records: readonly UsageRecord[]): readonly UsageRecord[] {
  const whole: UsageRecord[] = []
  for (const record of records) {
    const before = whole.at(-1)
    if (before === undefined || before.to !== record.from || !isSame(before, record)) whole.push(record)
    else {
      const { from, seconds, inferred } = before
      const all = {
        from,
        seconds: record.to === null ? 0 : seconds + record.seconds,
        inferred: inferred || record.inferred,
      }
      whole[whole.length - 1] = { ...record, ...all }
    }
  }
  return whole
}

/** The part of a record in a span of time, with its seconds; undefined when it has none. */
export function within(record: UsageRecord, { from, to }: Span): UsageRecord | undefined {
  const begins = from !== null && record.from < from ? from : record.from
  const ends = record.to === null || record.to > to ? to : record.to
  if (begins >= ends) return undefined
  const isOpen = record.to === null && ends === to
  return { ...record, from: begins, to: isOpen ? null : ends, seconds: secondsBetween(begins, ends) }
}

function opened(fact: UsageFact): Open {
  if (fact.kind === 'begins') return { from: fact.at, fact, inferred: false }
  const launched = fact.launched_at ?? fact.at
  return { from: launched < fact.at ? launched : fact.at, fact, inferred: true }
}

function recordOf({ from, fact, inferred }: Open, to: string | null, endInferred: boolean): UsageRecord {
  const { instance_uuid, project_id, user_id, display_name, charged } = fact
  const seconds = to === null ? 0 : Math.max(0, secondsBetween(from, to))
  const of = { instance_uuid, project_id, user_id, display_name }
  return { ...of, ...charged, from, to, seconds, inferred: inferred || endInferred }
}

function secondsBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / 1000
}

function isSame(a: Charged, b: Charged): boolean {
  return (
    a.host === b.host &&
    a.model === b.model &&
    a.state === b.state &&
    a.flavor.name === b.flavor.name &&
    a.flavor.vcpus === b.flavor.vcpus &&
    a.flavor.memory_mb === b.flavor.memory_mb
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
