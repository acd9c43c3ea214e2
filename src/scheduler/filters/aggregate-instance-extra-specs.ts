import { metadataOf } from '../aggregate-metadata.ts'
import { few } from '../few.ts'
import { satisfies } from './extra-spec-match.ts'
import type { HostFilter } from './host-filter.ts'

const SCOPE = 'aggregate_instance_extra_specs:'

/**
 * Drops hosts whose aggregates do not say what the flavor wants (`aggregate_instance_extra_specs:ssd=true`). Nova reads
 * keys without a scope, too; here that would make every flavor with a key of somebody's own unbootable.
 */
export const aggregateInstanceExtraSpecs: HostFilter = {
  name: 'AggregateInstanceExtraSpecsFilter',
  isForComers: true,
  fix: 'put hosts into an aggregate that says so: sevbus aggregate set NAME --metadata KEY=VALUE; or take another flavor',
  reject: (host, { spec: { flavor } }) => {
    for (const spec in flavor.extra_specs) {
      if (!spec.startsWith(SCOPE)) continue
      const key = spec.slice(SCOPE.length)
      const asked = flavor.extra_specs[spec] as string
      const said = metadataOf(host, key)
      if (said === undefined) return `no aggregate of the host says ${key}; the flavor wants ${asked}`
      if ([...said.values].some((value) => satisfies(value, asked))) continue
      return `aggregate ${few(said.aggregates)} says ${key}=${few([...said.values])}; the flavor wants ${asked}`
    }
    return undefined
  },
}
