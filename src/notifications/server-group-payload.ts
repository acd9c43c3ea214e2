import type { ServerGroup } from '../objects/server-group.ts'
import { ServerGroupPayload } from './request-payloads.ts'

/** With who has made it. */
export interface StoredServerGroup extends Pick<ServerGroup, 'uuid' | 'name' | 'policy' | 'rules'> {
  readonly user_id: string | null
  readonly project_id: string | null
}

/** What is told of it: null where that is not known, or too long. */
export interface ToldServerGroup extends Omit<StoredServerGroup, 'name' | 'policy'> {
  readonly name: string | null
  readonly policy: ServerGroup['policy'] | null
  readonly members: readonly string[] | null
  readonly hosts: readonly string[] | null
}

export function serverGroupPayload({ policy, rules, members, hosts, ...group }: ToldServerGroup) {
  const { uuid, name, user_id, project_id } = group
  return ServerGroupPayload.wrap({
    ...{ uuid, name, user_id, project_id, policies: policy === null ? null : [policy], policy },
    ...{ members: members === null ? null : [...members], hosts: hosts === null ? null : [...hosts] },
    rules: Object.fromEntries(Object.entries(rules).map(([rule, value]) => [rule, String(value)])),
  })
}

/** Of a group that a request names, told by one who knows nothing else of it. */
export function namedGroup(uuid: string): ToldServerGroup {
  return {
    ...{ uuid, name: null, policy: null, rules: {}, user_id: null, project_id: null },
    ...{ members: null, hosts: null },
  }
}
