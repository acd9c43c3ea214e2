import { ERRORS_BY_CODE } from '../../src/errors.ts'
import type { Entry, Outcome } from './ledger.ts'

/** The ledger of one process: killed ones begin a new one when they are started again. */
export interface Book {
  /** `sender-1#2`: the second life of sender-1. */
  readonly process: string
  readonly entries: readonly Entry[]
  /** How it ended otherwise than it should, a sentence each. */
  readonly troubles: readonly string[]
  /** When it was ended by SIGKILL. */
  readonly killedAt?: number
}

export interface Evidence {
  readonly books: readonly Book[]
  /** What senders have committed together with the message, out of the database. */
  readonly facts: readonly StoredFact[]
  /** Ids of what orders have done, out of the database: each as often as it was done. */
  readonly effects: readonly string[]
  /** Messages left on the broker, by queue: nothing may be left. */
  readonly left: Readonly<Record<string, number>>
  /** What got stuck during the run, a sentence each. */
  readonly troubles: readonly string[]
  /** When the last fault was over, in milliseconds since 1970. */
  readonly quietSince: number
}

export interface StoredFact {
  readonly id: string
  readonly kind: 'order' | 'notification'
  /** Of notifications, as it was stored. */
  readonly messageId: string | null
}

export interface Limits {
  /** How late a call may end, beside the time that its process was not let run in. */
  readonly slackMs: number
  /** What the memory of a process may grow by from its second quarter to its last. */
  readonly growthBytes: number
  /** What is begun so long after the last fault must go well: everything has come back. */
  readonly recoveryMs: number
  /** At least this part of all calls must have had their result, or the rest proves nothing. */
  readonly answeredPart: number
}

/** What refuses a call that nobody refused: trouble on the way, told as what it is. */
const TROUBLE = new Set([
  'MESSAGING_TIMEOUT',
  'SERVER_LOST',
  'TRANSPORT_UNAVAILABLE',
  'NO_SUCH_SERVER',
  'SERVICE_STOPPING',
])
/** What the servers refuse with when they are asked to. */
const REFUSAL_CODE = 'INVALID_PROPERTY'
const EXAMPLES = 5
/** A busy machine may be late for those who wait less. */
const PATIENT_MS = 5_000

type Asked = Extract<Entry, { type: 'call' | 'cast' }>
type Ended = Extract<Entry, { type: 'ended' }>

/** Compares what was sent with what was received. @returns a sentence for each thing that may not be; empty is good */
export function audit(evidence: Evidence, limits: Limits): readonly string[] {
  const asked = new Asking(evidence.books)
  const runs = runsById(evidence.books)
  return [
    ...endings(asked, limits),
    ...answers(asked, runs),
    ...executions(asked, runs),
    ...orders(evidence, asked, runs),
    ...notifications(evidence),
    ...share(asked, limits),
    ...recovery(evidence, asked, limits),
    ...memory(evidence.books, limits),
    ...ends(evidence),
  ]
}

/** Everything that was asked without an outbox, with what became of it. */
export class Asking {
  readonly all: { readonly book: Book; readonly entry: Asked; readonly ends: readonly Ended[] }[] = []

  constructor(books: readonly Book[]) {
    for (const book of books) {
      const ends = grouped(book.entries.filter((entry) => entry.type === 'ended'))
      for (const entry of book.entries) {
        if (entry.type !== 'call' && entry.type !== 'cast') continue
        this.all.push({ book, entry, ends: ends.get(entry.id) ?? [] })
      }
    }
  }

  get calls() {
    return this.all.filter(({ entry }) => entry.type === 'call')
  }

  get casts() {
    return this.all.filter(({ entry }) => entry.type === 'cast')
  }
}

/** Once each, and in time; those of a process that was killed may have ended with it. */
function endings(asked: Asking, { slackMs }: Limits): readonly string[] {
  return limited(
    asked.all.flatMap(({ book, entry, ends }) => {
      const { type, id, timeoutMs, at } = entry
      const what = `${type} ${id} of ${book.process}`
      if (ends.length > 1) return [`${what} ended ${ends.length} times`]
      const [end] = ends
      const deadline = at + timeoutMs
      const until = end === undefined ? (book.killedAt ?? Number.POSITIVE_INFINITY) : at + end.tookMs
      const late = until - deadline
      if (late <= slackMs || late - stalledMs(book, deadline, until) <= slackMs) return []
      return end === undefined
        ? [`${what} never ended; its deadline was ${timeoutMs} ms`]
        : [`${what} ended ${Math.round(late)} ms after its deadline of ${timeoutMs} ms`]
    }),
  )
}

/** How much of this time the process, by its own word, could not do anything in. */
function stalledMs({ entries }: Book, from: number, to: number): number {
  return entries.reduce((sum, entry) => {
    if (entry.type !== 'stalled') return sum
    return sum + Math.max(0, Math.min(to, entry.at) - Math.max(from, entry.at - entry.ms))
  }, 0)
}

function answers(asked: Asking, runs: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return limited(
    asked.calls.flatMap(({ book, entry, ends }) =>
      ends.flatMap(({ id, outcome }) => {
        const problem = entry.type === 'call' ? wrongIn(outcome, entry.answer) : undefined
        if (problem !== undefined) return [`call ${id} of ${book.process} ${problem}`]
        return isAnswer(outcome) && !runs.has(id)
          ? [`call ${id} of ${book.process} was answered, and no server has run it`]
          : []
      }),
    ),
  )
}

function wrongIn(outcome: Outcome, answer: number | 'refusal'): string | undefined {
  if ('untyped' in outcome) return `ended with an error that has no code: ${outcome.untyped}`
  if ('n' in outcome) return outcome.n === answer ? undefined : `was answered ${outcome.n} instead of ${answer}`
  if (!ERRORS_BY_CODE.has(outcome.code)) return `ended with ${outcome.code}, which is no published code`
  if (TROUBLE.has(outcome.code) || (outcome.code === REFUSAL_CODE && answer === 'refusal')) return undefined
  return `ended with ${outcome.code}, which no fault explains`
}

/** A call runs at most once, whatever becomes of its server. */
function executions(asked: Asking, runs: ReadonlyMap<string, readonly string[]>): readonly string[] {
  return limited(
    asked.calls.flatMap(({ entry: { id } }) => {
      const by = runs.get(id) ?? []
      return by.length > 1 ? [`call ${id} ran ${by.length} times: ${by.join(', ')}`] : []
    }),
  )
}

/** Done exactly once: what was stored, and what the broker has confirmed; at most once: what may have got lost. */
function orders({ books, facts, effects }: Evidence, asked: Asking, runs: ReadonlyMap<string, readonly string[]>) {
  const times = counted(effects)
  const stored = new Set(facts.map(({ id }) => id))
  const due = new Set(facts.filter(({ kind }) => kind === 'order').map(({ id }) => id))
  for (const { entry, ends } of asked.casts) if (ends.some(({ outcome }) => 'n' in outcome)) due.add(entry.id)
  const known = new Set([...due, ...asked.casts.map(({ entry }) => entry.id)])
  const promised = books.flatMap(({ entries }) =>
    entries.flatMap((entry) => (entry.type === 'stored' ? entry.ids : [])),
  )
  return [
    promised.filter((id) => !stored.has(id)).map((id) => `message ${id} was committed, and is not in the database`),
    [...due].filter((id) => !runs.has(id)).map((id) => `order ${id} was sent, and no server has run it`),
    [...due].filter((id) => runs.has(id) && !times.has(id)).map((id) => `order ${id} ran, and has no effect`),
    [...times].filter(([, count]) => count > 1).map(([id, count]) => `order ${id} has its effect ${count} times`),
    [...times.keys()].filter((id) => !known.has(id)).map((id) => `order ${id} has an effect, and nobody gave it`),
  ].flatMap(limited)
}

function notifications({ books, facts }: Evidence): readonly string[] {
  const received = new Map<string, Set<string | null>>()
  for (const entry of books.flatMap(({ entries }) => entries)) {
    if (entry.type !== 'notified') continue
    received.set(entry.id, (received.get(entry.id) ?? new Set()).add(entry.messageId))
  }
  const sent = new Map(facts.flatMap(({ id, kind, messageId }) => (kind === 'notification' ? [[id, messageId]] : [])))
  return [
    [...sent.keys()].filter((id) => !received.has(id)).map((id) => `notification ${id} has not arrived`),
    [...received.keys()].filter((id) => !sent.has(id)).map((id) => `notification ${id} arrived, and nobody sent it`),
    [...received].flatMap(([id, ids]) => {
      const other = [...ids].filter((messageId) => sent.has(id) && messageId !== sent.get(id))
      return other.map((messageId) => `notification ${id} arrived as ${messageId}, and was stored as ${sent.get(id)}`)
    }),
  ].flatMap(limited)
}

function share({ calls }: Asking, { answeredPart }: Limits): readonly string[] {
  const answered = calls.filter(({ ends }) => ends.some(({ outcome }) => isAnswer(outcome)))
  if (calls.length > 0 && answered.length >= answeredPart * calls.length) return []
  return [`only ${answered.length} of ${calls.length} calls were answered`]
}

/** Nobody stays deaf: calls to any server and to each one are answered again, and casts confirmed. */
function recovery({ quietSince }: Evidence, asked: Asking, { recoveryMs }: Limits): readonly string[] {
  const late = asked.all.filter(({ entry }) => entry.at > quietSince + recoveryMs && entry.timeoutMs >= PATIENT_MS)
  return limited(
    late.flatMap(({ book, entry, ends }) =>
      ends.flatMap(({ outcome }) => {
        if (isAnswer(outcome) || !('code' in outcome)) return []
        const after = `begun ${entry.at - quietSince} ms after the last fault`
        return [`${entry.type} ${entry.id} of ${book.process}, ${after}, ended with ${outcome.code}`]
      }),
    ),
  )
}

/** The server has had its say. */
function isAnswer(outcome: Outcome): boolean {
  return 'n' in outcome || ('code' in outcome && outcome.code === REFUSAL_CODE)
}

/** @returns growth by process, of those that lived long enough to tell; in bytes, from the second quarter to the last */
export function growthOf({ entries }: Book): { readonly bytes: number; readonly messages: number } | undefined {
  const samples = entries.filter((entry) => entry.type === 'memory')
  const quarter = Math.floor(samples.length / 4)
  if (quarter < 2) return undefined
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)]
  const between = (key: 'bytes' | 'messages') =>
    median(late.map((sample) => sample[key])) - median(early.map((sample) => sample[key]))
  return { bytes: between('bytes'), messages: between('messages') }
}

function memory(books: readonly Book[], { growthBytes }: Limits): readonly string[] {
  return books.flatMap((book) => {
    const growth = growthOf(book)
    if (growth === undefined || growth.bytes <= growthBytes) return []
    const megabytes = (growth.bytes / 1024 / 1024).toFixed(1)
    return [`the memory of ${book.process} grew by ${megabytes} MB over ${growth.messages} messages`]
  })
}

function ends({ books, left, troubles }: Evidence): readonly string[] {
  const unfinished = books.filter(
    ({ entries, killedAt }) => killedAt === undefined && !entries.some(({ type }) => type === 'finished'),
  )
  const waiting = Object.entries(left).filter(([, messages]) => messages > 0)
  return [
    ...troubles,
    ...books.flatMap((book) => book.troubles),
    ...unfinished.map(({ process }) => `${process} did not end in order`),
    ...waiting.map(([queue, messages]) => `${messages} messages are left in ${queue}`),
  ]
}

export function runsById(books: readonly Book[]): ReadonlyMap<string, readonly string[]> {
  const runs = new Map<string, string[]>()
  for (const { process, entries } of books) {
    for (const entry of entries) {
      if (entry.type !== 'ran') continue
      const by = runs.get(entry.id)
      if (by === undefined) runs.set(entry.id, [process])
      else by.push(process)
    }
  }
  return runs
}

function grouped<E extends { readonly id: string }>(entries: readonly E[]): ReadonlyMap<string, readonly E[]> {
  const groups = new Map<string, E[]>()
  for (const entry of entries) {
    const group = groups.get(entry.id)
    if (group === undefined) groups.set(entry.id, [entry])
    else group.push(entry)
  }
  return groups
}

function counted(ids: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** The first few: one cause mostly has hundreds of them. */
function limited(violations: readonly string[]): readonly string[] {
  if (violations.length <= EXAMPLES) return violations
  return [...violations.slice(0, EXAMPLES), `… and ${violations.length - EXAMPLES} more like these`]
}
