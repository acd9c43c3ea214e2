import type { HostFilter } from './host-filter.ts'

/** Drops hosts where this request already failed, so that a reschedule always moves on. */
export const ignoredHosts: HostFilter = {
  name: 'IgnoredHosts',
  isForComers: true,
  fix: 'see why the earlier tries failed there (explain), correct it and build again, or add a host',
  concern: ({ spec: { ignore_hosts } }) => (ignore_hosts.length > 0 ? JSON.stringify(ignore_hosts) : undefined),
  reject: ({ host }, { spec: { ignore_hosts, migration } }) => {
    if (!ignore_hosts.includes(host)) return undefined
    const why = migration
      ? 'the instance moves away from it, or an earlier try failed there'
      : 'an earlier try failed there'
    return `in ignore_hosts: ${why}`
  },
}
