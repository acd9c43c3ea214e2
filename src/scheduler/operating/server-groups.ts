import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../database/database.ts'
import type { ServerGroup } from '../../objects/server-group.ts'
import { groupNotFound } from '../placement/hinted-hosts.ts'

export async function createServerGroup(
  database: Queryable,
  { name, policy, rules }: Pick<ServerGroup, 'name' | 'policy' | 'rules'>,
): Promise<ServerGroup> {
  const uuid = randomUUID()
  await database.query('insert into server_groups (uuid, name, policy, rules) values ($1, $2, $3, $4::jsonb)', [
    uuid,
    name,
    policy,
    JSON.stringify(rules),
  ])
  return { uuid, name, policy, rules, members: [] }
}

/** By name, with the members that are on a host. */
export async function listServerGroups(
  database: Queryable,
  { uuids, name }: { readonly uuids?: readonly string[] | undefined; readonly name?: string | undefined },
): Promise<readonly ServerGroup[]> {
  return database.query<ServerGroup>(
    `select g.uuid, g.name, g.policy, g.rules,
            (select coalesce(json_agg(json_build_object('instance_uuid', c.uuid, 'host', c.host)
                                      order by c.host collate "C", c.uuid), '[]')
               from server_group_members m join consumers c on c.uuid = m.instance_uuid
              where m.server_group = g.uuid and c.host is not null) as members
       from server_groups g
      where ($1::uuid[] is null or g.uuid = any($1)) and ($2::text is null or g.name = $2)
      order by g.name collate "C", g.uuid`,
    [uuids === undefined ? null : [...uuids], name ?? null],
  )
}

/** Its members stay where they are, and are held to nothing any more. @throws InstanceGroupNotFound */
export async function deleteServerGroup(database: Queryable, uuid: string): Promise<void> {
  const [gone] = await database.query('delete from server_groups where uuid = $1 returning uuid', [uuid])
  if (gone === undefined) throw groupNotFound(uuid)
}
