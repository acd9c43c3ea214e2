import type { Queryable } from '../../database/database.ts'
import type { StoredServerGroup, ToldServerGroup } from '../../notifications/server-group-payload.ts'
import type { RequestSpec } from '../../objects/request-spec.ts'

/** More members are not told by name: a notification has to fit into a message. */
const MAX_MEMBERS = 1000

/**
 * The group that a request names, as those hear of it who watch schedulers: with all its members, the instance among them, and
 * their hosts. Undefined: there is no such group, or it names none.
 */
export async function toldGroup(
  database: Queryable,
  { instance_uuid, scheduler_hints: { group } }: Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>,
): Promise<ToldServerGroup | undefined> {
  if (group === null) return undefined
  const [found] = await database.query<StoredServerGroup & { readonly members: string[]; readonly hosts: string[] }>(
    `select uuid, name, policy, rules, user_id, project_id,
            array(select m.instance_uuid::text from server_group_members m
                   where m.server_group = g.uuid and m.instance_uuid <> $2 order by m.instance_uuid limit $3) as members,
            array(select c.host from server_group_members m join consumers c on c.uuid = m.instance_uuid
                   where m.server_group = g.uuid and c.host is not null
                   group by c.host order by c.host collate "C" limit $3) as hosts
       from server_groups g where uuid = $1`,
    [group, instance_uuid, MAX_MEMBERS],
  )
  if (found === undefined) return undefined
  const members = [...found.members, instance_uuid.toLowerCase()].toSorted()
  return members.length > MAX_MEMBERS ? { ...found, members: null, hosts: null } : { ...found, members }
}
