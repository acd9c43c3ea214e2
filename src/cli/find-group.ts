import { InstanceGroupNotFound, InvalidArguments } from '../errors.ts'
import type { ServerGroup } from '../objects/server-group.ts'
import { UUID } from './find-instance.ts'
import type { Session } from './session.ts'

/** A server group by uuid, or by a name that only one has. @throws InstanceGroupNotFound, InvalidArguments */
export async function findGroup({ scheduler, context }: Session, word: string): Promise<ServerGroup> {
  const query = UUID.test(word) ? { uuids: [word] } : { name: word }
  const { server_groups: groups } = await scheduler.listServerGroups(context, query)
  const [found, ...others] = groups
  if (found === undefined) {
    throw new InstanceGroupNotFound(`no server group is called ${word}`, {
      server_group: word,
      fix: 'see them with: sevbus group list',
    })
  }
  if (others.length === 0) return found
  const uuids = groups.map(({ uuid }) => uuid)
  throw new InvalidArguments(`${groups.length} server groups are called ${word}`, {
    server_group: word,
    uuids,
    fix: `name one by its uuid: ${uuids.join(', ')}`,
  })
}
