import { Asking, type Evidence, growthOf, runsById } from './auditor.ts'
import type { SoakResult } from './soak.ts'

/** A table of what was seen, good or bad. */
export function report({ evidence, messages, faults, trafficMs }: SoakResult): string {
  const asked = new Asking(evidence.books)
  const outcomes = new Map<string, number>()
  for (const { entry, ends } of asked.all) {
    for (const how of ends.length === 0 ? ['lost with its process'] : ends.map(({ outcome }) => nameOf(outcome))) {
      outcomes.set(`${entry.type}s: ${how}`, (outcomes.get(`${entry.type}s: ${how}`) ?? 0) + 1)
    }
  }
  const notified = evidence.books.flatMap(({ entries }) => entries.filter(({ type }) => type === 'notified'))
  const stored = (kind: string) => evidence.facts.filter((fact) => fact.kind === kind).length
  const done = new Set(evidence.effects)
  const orderRuns = [...runsById(evidence.books)].reduce((sum, [id, by]) => sum + (done.has(id) ? by.length : 0), 0)
  const rows: (readonly [string, string | number])[] = [
    ['messages', messages],
    ['seconds', (trafficMs / 1000).toFixed(1)],
    ['faults', faults],
    ['processes killed', evidence.books.filter(({ killedAt }) => killedAt !== undefined).length],
    ...[...outcomes].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ['orders stored', stored('order')],
    ['orders run', orderRuns],
    ['effects of orders', evidence.effects.length],
    ['notifications stored', stored('notification')],
    ['notifications received', notified.length],
    ...evidence.books.flatMap((book) => growthRow(book)),
  ]
  return rows.map(([name, value]) => `${name.padEnd(44)} ${String(value).padStart(9)}`).join('\n')
}

function nameOf(outcome: { readonly n: number } | { readonly code: string } | { readonly untyped: string }): string {
  if ('n' in outcome) return 'answered'
  return 'code' in outcome ? outcome.code : 'without a code'
}

function growthRow(book: Evidence['books'][number]): (readonly [string, string])[] {
  const growth = growthOf(book)
  if (growth === undefined) return []
  return [
    [`memory of ${book.process}, growth over ${growth.messages}`, `${(growth.bytes / 1024 / 1024).toFixed(2)} MB`],
  ]
}
