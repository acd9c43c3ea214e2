import { lacks } from '../host-state.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts without enough processors, memory or disk: whatever is claimed on the host itself. */
export const resources: HostFilter = {
  name: 'Resources',
  fix: 'ask for a smaller flavor, add a host, or delete instances where that makes room enough',
  reject: ({ root }, { resources }) => {
    const lacking = Object.entries(resources.root).flatMap(
      ([resourceClass, amount]) => lacks(resourceClass, amount, root.inventories[resourceClass]) ?? [],
    )
    return lacking.length > 0 ? lacking.join('; ') : undefined
  },
}
