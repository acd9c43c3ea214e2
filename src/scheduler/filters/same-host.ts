import { few } from '../few.ts'
import type { HintedHosts } from '../hinted-hosts.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that have none of the instances that the hint `same_host` names. */
export const sameHost: HostFilter = {
  name: 'SameHostFilter',
  isForComers: true,
  fix: 'make room on the host of these instances, name some that are on a host, or ask without the hint same_host',
  concern: ({ spec: { scheduler_hints: hints }, hinted }) =>
    hints.same_host.length > 0 ? JSON.stringify([hints.same_host, hostsOf(hints.same_host, hinted)]) : undefined,
  reject: ({ host }, { spec: { scheduler_hints: hints }, hinted }) => {
    if (hints.same_host.length === 0) return undefined
    const hosts = hostsOf(hints.same_host, hinted)
    if (hosts.includes(host)) return undefined
    return hosts.length === 0
      ? `none of the instances of same_host is on a host: ${few(hints.same_host)}`
      : `the instances of same_host are on ${few(hosts)}`
  },
}

function hostsOf(uuids: readonly string[], hinted: HintedHosts | undefined): readonly string[] {
  return [...new Set(uuids.flatMap((uuid) => hinted?.hostOf.get(uuid) ?? []))]
}
