import { inOrder, seenAt } from './facts-in-order.ts'
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

/** What of it is known although the notification of that never came. */
export interface Usage {
  readonly records: readonly UsageRecord[]
  readonly isBeginningLost: boolean
  /** Of the last of its ends: shelved, it has an end before. */
  readonly isEndLost: boolean
}

export function usageRecords(facts: readonly UsageFact[]): readonly UsageRecord[] {
  return usageOf(facts).records
}

/**
 * How one instance was used, from all facts about it. A beginning that was lost is taken from `launched_at`, which every
 * later notification tells, an end from the `terminated_at` of an `instance.exists`.
 */
export function usageOf(facts: readonly UsageFact[]): Usage {
  const use = new Use()
  for (const fact of inOrder(facts)) use.add(fact)
  const { isBeginningLost, isEndLost } = use
  return {
    records: joined(use.records().filter(({ from, to }) => to === null || from < to)),
    isBeginningLost,
    isEndLost,
  }
}

/** The use of one instance so far, as fact after fact is added. */
class Use {
  readonly #closed: UsageRecord[] = []
  #open: Open | undefined
  /** Where it is by now: the clocks of hosts differ, and time does not run backwards. */
  #now = ''
  /** Number of the last end. */
  #lastEnd = 0
  isBeginningLost = false
  isEndLost = false

  records(): readonly UsageRecord[] {
    return this.#open === undefined ? this.#closed : [...this.#closed, recordOf(this.#open, null, false)]
  }

  add(fact: UsageFact): void {
    const isEnd = fact.kind === 'ends' || (fact.kind === 'exists' && fact.terminated_at !== null)
    if (fact.kind !== 'exists' || isEnd) this.#now = later(this.#now, seenAt(fact))
    if (this.#open === undefined && this.#opens(fact)) this.#begin(opened(fact, this.#now))
    if (isEnd) this.#end(fact)
    else if (fact.kind !== 'exists') this.#change(fact)
  }

  /** Gone is gone: only a new beginning opens it again, and one that an end has come after, by its number, is not new. */
  #opens({ kind, sequence = this.#lastEnd }: UsageFact): boolean {
    return this.#closed.length === 0 || (kind === 'begins' && sequence >= this.#lastEnd)
  }

  #begin(open: Open): void {
    if (this.#closed.length === 0) this.isBeginningLost = open.inferred
    this.#open = open
    this.#now = later(this.#now, open.from)
  }

  #end({ kind, sequence = 0 }: UsageFact): void {
    this.#close(kind === 'exists')
    this.#lastEnd = Math.max(this.#lastEnd, sequence)
  }

  #change(fact: UsageFact): void {
    if (this.#open === undefined || isSame(this.#open.fact.charged, fact.charged)) return
    this.#close(false)
    this.#open = { from: this.#now, fact, inferred: false }
  }

  #close(inferred: boolean): void {
    if (this.#open === undefined) return
    this.#closed.push(recordOf(this.#open, this.#now, inferred))
    this.isEndLost = inferred
    this.#open = undefined
  }
}

function later(a: string, b: string): string {
  return a < b ? b : a
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

function opened(fact: UsageFact, now: string): Open {
  if (fact.kind === 'begins') return { from: now, fact, inferred: false }
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
