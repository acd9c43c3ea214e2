import type { ImageMeta } from '../../objects/image-meta.ts'
import { metadataOf } from '../aggregate-metadata.ts'
import { few } from '../few.ts'
import type { HostFilter } from './host-filter.ts'

/**
 * Keeps images away from hosts whose aggregates want another value of a property (`os_type=windows`). An image without
 * the property may go anywhere, as in Nova.
 */
export const aggregateImagePropertiesIsolation: HostFilter = {
  name: 'AggregateImagePropertiesIsolation',
  fix: 'add hosts for such images, or change the metadata of the aggregate: sevbus aggregate set NAME --metadata KEY=VALUE',
  reject: (host, { spec: { image } }) => {
    for (const key of keysOf(host.aggregates)) {
      const value = propertyOf(image, key)
      const wanted = value === undefined ? undefined : metadataOf(host, key)
      if (wanted === undefined || wanted.values.has(value as string)) continue
      return `aggregate ${few(wanted.aggregates)} is for images with ${key}=${few([...wanted.values])}; this one has ${value}`
    }
    return undefined
  },
}

function keysOf(aggregates: readonly { readonly metadata: Readonly<Record<string, string>> }[]): readonly string[] {
  return aggregates.flatMap(({ metadata }) => Object.keys(metadata))
}

function propertyOf({ properties }: ImageMeta, key: string): string | undefined {
  const value = Object.hasOwn(properties, key) ? properties[key] : undefined
  return value === undefined || value === null || value === '' ? undefined : String(value)
}
