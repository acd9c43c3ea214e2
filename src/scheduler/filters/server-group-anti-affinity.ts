import { groupConcern } from '../group-concern.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts that have as many members of the request's group as its policy anti-affinity allows. */
export const serverGroupAntiAffinity: HostFilter = {
  name: 'ServerGroupAntiAffinityFilter',
  isForComers: true,
  fix: 'add a host, delete a member of the group, or make a group that allows more on one host (max_server_per_host)',
  concern: (request) => groupConcern(request, 'anti-affinity'),
  reject: ({ host }, { hinted }) => {
    if (hinted?.group?.policy !== 'anti-affinity') return undefined
    const { name, members, maxServerPerHost } = hinted.group
    const here = members.get(host) ?? 0
    if (here < maxServerPerHost) return undefined
    return `${here} of group ${name} here, at most ${maxServerPerHost} on one host (anti-affinity)`
  },
}
