import type { Aggregate } from '../objects/aggregate.ts'
import { facts, table } from './table.ts'

export function aggregateTable(aggregates: readonly Aggregate[]): string {
  if (aggregates.length === 0) return 'no aggregates'
  const rows = aggregates.map((aggregate) => [
    aggregate.name,
    String(aggregate.hosts.length),
    pairsOf(aggregate).join(' ') || '-',
  ])
  return table(['NAME', 'HOSTS', 'METADATA'], rows)
}

export function aggregateFacts(aggregate: Aggregate): string {
  const [first = '-', ...more] = pairsOf(aggregate)
  return facts([
    ['name', aggregate.name],
    ['metadata', first],
    ...more.map((pair) => ['', pair] as const),
    ['hosts', aggregate.hosts.join(', ') || '-'],
  ])
}

function pairsOf({ metadata }: Aggregate): readonly string[] {
  return Object.entries(metadata)
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
}
