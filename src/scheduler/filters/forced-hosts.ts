import { few } from '../few.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops all other hosts when the request names some. */
export const forcedHosts: HostFilter = {
  name: 'ForcedHosts',
  fix: 'name a host that has reported, or leave force_hosts empty',
  concern: ({ spec: { force_hosts } }) => (force_hosts.length > 0 ? JSON.stringify(force_hosts) : undefined),
  reject: ({ host }, { spec: { force_hosts } }) => {
    if (force_hosts.length === 0 || force_hosts.includes(host)) return undefined
    return `only ${few(force_hosts)} may be used`
  },
}
