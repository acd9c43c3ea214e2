import type { HostFilter } from './host-filter.ts'

const NAMED = 5

/** Drops all other hosts when the request names some. */
export const forcedHosts: HostFilter = {
  name: 'ForcedHosts',
  fix: 'name a host that has reported, or leave force_hosts empty',
  concern: ({ spec: { force_hosts } }) => (force_hosts.length > 0 ? JSON.stringify(force_hosts) : undefined),
  reject: ({ host }, { spec: { force_hosts } }) => {
    if (force_hosts.length === 0 || force_hosts.includes(host)) return undefined
    const more = force_hosts.length > NAMED ? ` and ${force_hosts.length - NAMED} more` : ''
    return `only ${force_hosts.slice(0, NAMED).join(', ')}${more} may be used`
  },
}
