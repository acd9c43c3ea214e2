import { few } from '../few.ts'
import { groupConcern } from '../group-concern.ts'
import type { HostFilter } from './host-filter.ts'

/** Drops hosts where the request's group is not, when its policy is affinity and it is somewhere. */
export const serverGroupAffinity: HostFilter = {
  name: 'ServerGroupAffinityFilter',
  isForComers: true,
  fix: 'make room on the host of the group, or ask without the hint group',
  concern: (request) => groupConcern(request, 'affinity'),
  reject: ({ host }, { hinted }) => {
    if (hinted?.group?.policy !== 'affinity') return undefined
    const { name, members } = hinted.group
    return members.size === 0 || members.has(host)
      ? undefined
      : `group ${name} is on ${few([...members.keys()])} (affinity)`
  },
}
