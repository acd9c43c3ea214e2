import type { Queryable } from '../../database/database.ts'
import { InstanceGroupNotFound } from '../../errors.ts'
import type { RequestSpec } from '../../objects/request-spec.ts'
import type { ServerGroupPolicy, ServerGroupRules } from '../../objects/server-group.ts'
import type { GroupState, HintedHosts } from '../hinted-hosts.ts'

type Hinting = Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>

/**
 * Where those are that a request's hints speak of; undefined when it has none, which asks nobody. With the hint `group`
 * the instance is a member from now on, so that its claim is held to the policy.
 *
 * @throws InstanceGroupNotFound
 */
export async function hintedHosts(database: Queryable, spec: Hinting): Promise<HintedHosts | undefined> {
  const { group, same_host, different_host } = spec.scheduler_hints
  const uuids = [...same_host, ...different_host]
  if (group === null && uuids.length === 0) return undefined
  return {
    group: group === null ? undefined : await becomeMember(database, spec.instance_uuid, group),
    hostOf: uuids.length === 0 ? new Map() : await hostsOf(database, uuids),
  }
}

async function becomeMember(database: Queryable, instanceUuid: string, uuid: string): Promise<GroupState> {
  const [group] = await database.query<{ name: string; policy: ServerGroupPolicy; rules: ServerGroupRules }>(
    `with joined as (
       insert into server_group_members (instance_uuid, server_group) select $1, g.uuid from server_groups g where g.uuid = $2
       on conflict (instance_uuid) do nothing)
     select name, policy, rules from server_groups where uuid = $2`,
    [instanceUuid, uuid],
  )
  if (group === undefined) throw groupNotFound(uuid)
  const rows = await database.query<{ host: string; members: number }>(
    `select c.host, count(*) as members
       from server_group_members m join consumers c on c.uuid = m.instance_uuid
      where m.server_group = $1 and c.host is not null and c.uuid <> $2
      group by c.host order by c.host collate "C"`,
    [uuid, instanceUuid],
  )
  const { name, policy, rules } = group
  const members = new Map(rows.map((row) => [row.host, row.members]))
  return { uuid, name, policy, maxServerPerHost: rules.max_server_per_host ?? 1, members }
}

async function hostsOf(database: Queryable, uuids: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const rows = await database.query<{ uuid: string; host: string }>(
    'select uuid, host from consumers where uuid = any($1::uuid[]) and host is not null',
    [[...uuids]],
  )
  return new Map(rows.map(({ uuid, host }) => [uuid, host]))
}

export function groupNotFound(uuid: string): InstanceGroupNotFound {
  return new InstanceGroupNotFound(`no server group has the uuid ${uuid}`, {
    server_group: uuid,
    fix: 'see their uuids with: sevbus group list',
  })
}
