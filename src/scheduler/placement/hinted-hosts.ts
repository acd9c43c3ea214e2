import type { Database, Queryable } from '../../database/database.ts'
import { InstanceGroupNotFound } from '../../errors.ts'
import type { RequestSpec } from '../../objects/request-spec.ts'
import type { GroupState, HintedHosts } from '../hinted-hosts.ts'
import type { Told } from '../telling.ts'
import { becomeMember } from './membership.ts'

type Hinting = Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>

/**
 * Where those are that a request's hints speak of; undefined when it has none, which asks nobody. With the hint `group`
 * the instance is a member from now on, so that its claim is held to the policy.
 *
 * @throws InstanceGroupNotFound
 */
export async function hintedHosts(database: Database, spec: Hinting, told?: Told): Promise<HintedHosts | undefined> {
  const { group, same_host, different_host } = spec.scheduler_hints
  const uuids = [...same_host, ...different_host]
  if (group === null && uuids.length === 0) return undefined
  return {
    group: group === null ? undefined : await groupOf(database, spec.instance_uuid, group, told),
    hostOf: uuids.length === 0 ? new Map() : await hostsOf(database, uuids),
  }
}

async function groupOf(database: Database, instanceUuid: string, uuid: string, told: Told): Promise<GroupState> {
  const group = await becomeMember(database, instanceUuid, uuid, told)
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
