import type { HostAggregate, HostState } from './host-state.ts'

/** Values of one metadata key, which are separated by commas, and the aggregates of the host that have them. */
export interface MetadataValues {
  readonly aggregates: readonly string[]
  readonly values: ReadonlySet<string>
}

/** What the aggregates of a host say about a key, taken together as in Nova; undefined: none has it. */
export function metadataOf({ aggregates }: Pick<HostState, 'aggregates'>, key: string): MetadataValues | undefined {
  return gathered(aggregates, (name) => name === key)
}

/** The same for all keys that begin alike: one value is no longer than 255 characters, so Nova takes several keys. */
export function metadataWithPrefix(
  { aggregates }: Pick<HostState, 'aggregates'>,
  prefix: string,
): MetadataValues | undefined {
  return gathered(aggregates, (name) => name.startsWith(prefix))
}

/** The least number that an aggregate of the host sets, as in Nova; without one, `otherwise`. */
export function leastOf(
  host: Pick<HostState, 'aggregates'>,
  key: string,
  otherwise: number | undefined,
): number | undefined {
  const words = [...(metadataOf(host, key)?.values ?? [])].filter((word) => word !== '')
  const numbers = words.map(Number).filter(Number.isFinite)
  return numbers.length > 0 ? Math.min(...numbers) : otherwise
}

function gathered(aggregates: readonly HostAggregate[], isMeant: (key: string) => boolean): MetadataValues | undefined {
  // Most hosts are in no aggregate: nothing is made for them.
  if (aggregates.length === 0) return undefined
  const names = new Set<string>()
  const values = new Set<string>()
  for (const { name, metadata } of aggregates) {
    for (const key in metadata) {
      if (!isMeant(key)) continue
      names.add(name)
      for (const value of (metadata[key] ?? '').split(',')) values.add(value.trim())
    }
  }
  return names.size > 0 ? { aggregates: [...names], values } : undefined
}
