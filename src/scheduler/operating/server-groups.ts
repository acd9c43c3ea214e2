import { randomUUID } from 'node:crypto'
import type { Database, Queryable } from '../../database/database.ts'
import type { StoredServerGroup } from '../../notifications/server-group-payload.ts'
import type { ServerGroup } from '../../objects/server-group.ts'
import { groupNotFound } from '../placement/hinted-hosts.ts'
import { tellOfGroup } from '../placement/membership.ts'
import type { Told } from '../telling.ts'

export async function createServerGroup(
  database: Database,
  { name, policy, rules }: Pick<ServerGroup, 'name' | 'policy' | 'rules'>,
  told?: Told,
): Promise<ServerGroup> {
  const uuid = randomUUID()
  const { user_id = null, project_id = null } = told?.context ?? {}
  await database.transaction(async (tx) => {
    await tx.query(
      'insert into server_groups (uuid, name, policy, rules, user_id, project_id) values ($1, $2, $3, $4::jsonb, $5, $6)',
      [uuid, name, policy, JSON.stringify(rules), user_id, project_id],
    )
    await tellOfGroup(tx, told, 'server_group.create', { uuid, name, policy, rules, user_id, project_id })
  })
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
export async function deleteServerGroup(database: Database, uuid: string, told?: Told): Promise<void> {
  await database.transaction(async (tx) => {
    const members = await tx.query<{ uuid: string }>(
      'select instance_uuid as uuid from server_group_members where server_group = $1 order by instance_uuid',
      [uuid],
    )
    const [gone] = await tx.query<StoredServerGroup>(
      'delete from server_groups where uuid = $1 returning uuid, name, policy, rules, user_id, project_id',
      [uuid],
    )
    if (gone === undefined) throw groupNotFound(uuid)
    const left = members.map((member) => member.uuid)
    await tellOfGroup(tx, told, 'server_group.delete', gone, left)
  })
}
