import type { HostFilter } from './host-filter.ts'

/** Drops hosts that have one of the instances that the hint `different_host` names. */
export const differentHost: HostFilter = {
  name: 'DifferentHostFilter',
  isForComers: true,
  fix: 'add a host, or ask without the hint different_host',
  concern: ({ spec: { scheduler_hints: hints }, hinted }) =>
    hints.different_host.length > 0
      ? JSON.stringify(hints.different_host.map((uuid) => [uuid, hinted?.hostOf.get(uuid)]))
      : undefined,
  reject: ({ host }, { spec: { scheduler_hints: hints }, hinted }) => {
    const here = hints.different_host.find((uuid) => hinted?.hostOf.get(uuid) === host)
    return here === undefined ? undefined : `instance ${here} of different_host is here`
  },
}
