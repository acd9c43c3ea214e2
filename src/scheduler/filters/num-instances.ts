import { leastOf } from '../aggregate-metadata.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that have as many instances as they may. @param most undefined: no limit but an aggregate's */
export function numInstances(most: number | undefined): HostFilter {
  return {
    name: 'NumInstancesFilter',
    isForComers: true,
    fix: 'delete instances there, raise max_instances_per_host, or add a host',
    reject: (host) => {
      const limit = leastOf(host, 'max_instances_per_host', most)
      if (limit === undefined || host.instances < limit) return undefined
      return `${host.instances} instances, at most ${limit} (max_instances_per_host)`
    },
  }
}
