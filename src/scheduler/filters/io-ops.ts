import { leastOf } from '../aggregate-metadata.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that build as many guests as they may at a time. @param most undefined: no limit but an aggregate's */
export function ioOps(most: number | undefined): HostFilter {
  return {
    name: 'IoOpsFilter',
    isForComers: true,
    fix: 'try again when the builds there are done, raise max_io_ops_per_host, or add a host',
    reject: (host) => {
      const limit = leastOf(host, 'max_io_ops_per_host', most)
      if (limit === undefined || host.ioOps === undefined || host.ioOps < limit) return undefined
      return `${host.ioOps} builds under way, at most ${limit} (max_io_ops_per_host)`
    },
  }
}
