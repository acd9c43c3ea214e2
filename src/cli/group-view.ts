import type { ServerGroup } from '../objects/server-group.ts'
import { facts, table } from './table.ts'

export function groupTable(groups: readonly ServerGroup[]): string {
  if (groups.length === 0) return 'no server groups'
  const rows = groups.map((group) => [
    group.uuid,
    group.name,
    policyOf(group),
    String(group.members.length),
    hostsOf(group).join(', ') || '-',
  ])
  return table(['UUID', 'NAME', 'POLICY', 'MEMBERS', 'HOSTS'], rows)
}

export function groupFacts(group: ServerGroup): string {
  const [first = '-', ...more] = group.members.map(({ instance_uuid, host }) => `${instance_uuid} on ${host}`)
  return facts([
    ['uuid', group.uuid],
    ['name', group.name],
    ['policy', policyOf(group)],
    ['members', first],
    ...more.map((member) => ['', member] as const),
  ])
}

function policyOf({ policy, rules }: ServerGroup): string {
  return rules.max_server_per_host === undefined ? policy : `${policy}, at most ${rules.max_server_per_host} on a host`
}

function hostsOf({ members }: ServerGroup): readonly string[] {
  return [...new Set(members.map(({ host }) => host))]
}
