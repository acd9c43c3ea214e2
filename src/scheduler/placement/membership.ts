import type { Database, Queryable } from '../../database/database.ts'
import type { ServerGroupEvent } from '../../notifications/operating-events.ts'
import type { StoredServerGroup } from '../../notifications/server-group-payload.ts'
import type { Told } from '../telling.ts'

/**
 * The instance is a member from now on, so that its claim is held to the policy.
 *
 * @returns its group; undefined: there is none
 */
export async function becomeMember(
  database: Database,
  instanceUuid: string,
  group: string,
  told: Told,
): Promise<StoredServerGroup | undefined> {
  const [found] = await database.query<StoredServerGroup & { has_it: boolean }>(
    `select uuid, name, policy, rules, user_id, project_id,
            exists (select from server_group_members m where m.instance_uuid = $1) as has_it
       from server_groups where uuid = $2`,
    [instanceUuid, group],
  )
  if (found === undefined || found.has_it) return found
  await database.transaction(async (tx) => {
    const [joined] = await tx.query(
      `insert into server_group_members (instance_uuid, server_group) select $1, g.uuid from server_groups g where g.uuid = $2
       on conflict (instance_uuid) do nothing returning instance_uuid`,
      [instanceUuid, group],
    )
    if (joined !== undefined) await tellOfGroup(tx, told, 'server_group.add_member', found, [instanceUuid])
  })
  told?.telling.announce()
  return found
}

export async function tellOfGroup(
  tx: Queryable,
  told: Told,
  event: ServerGroupEvent,
  group: StoredServerGroup,
  members: readonly string[] = [],
): Promise<void> {
  if (told === undefined) return
  const { telling, context } = told
  await telling.enqueue(tx, [telling.events.serverGroup(event, context, group, members)])
}
