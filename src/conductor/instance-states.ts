import type { Queryable } from '../database/database.ts'
import { InstanceState } from '../objects/instance.ts'
import { OUTBOX_OWNER } from './messages.ts'

export interface InstanceStateQuery {
  readonly uuids?: readonly string[] | undefined
  readonly host?: string | undefined
  readonly marker?: string | undefined
  readonly limit: number
}

/**
 * Without flavor, image and fault: of 100,000 instances a few pages, and not hundreds. What the outbox still has to say of
 * an instance is read with it, for a claim is right until its release has left, whatever the instance is by then. Keys
 * with a `/` are of notifications, and of what is only counted.
 */
export async function listInstanceStates(db: Queryable, query: InstanceStateQuery): Promise<readonly InstanceState[]> {
  // Each with the condition that its index is made for.
  const which = query.uuids === undefined ? `$1::uuid[] IS NULL AND vm_state <> 'deleted'` : 'instances.uuid = ANY($1)'
  const rows = await db.query<{ updated_at: Date }>(
    `WITH waiting AS (
       SELECT substring(ordering_key FOR 36) AS uuid, bool_or(length(ordering_key) = 36) AS messages,
              array_agg(DISTINCT substring(ordering_key FROM 38)) FILTER (WHERE length(ordering_key) > 36) AS hosts
       FROM outbox WHERE owner = $5 AND ordering_key NOT LIKE '%/%' GROUP BY 1
     )
     SELECT instances.uuid, name, vm_state, task_state, host, attempt, mem_encryption->>'model' AS model, updated_at,
            CASE WHEN vm_state = 'resized' THEN (SELECT source_host FROM migrations m WHERE m.instance_uuid = instances.uuid
              AND m.status IN ('finished', 'confirming', 'reverting')) END AS leaving,
            COALESCE(waiting.messages, false) AS messages_waiting, COALESCE(waiting.hosts, '{}') AS hosts_waiting,
            (SELECT COALESCE(max(number), 0) FROM instance_actions WHERE instance_uuid = instances.uuid) AS last_action
     FROM instances LEFT JOIN waiting ON waiting.uuid = instances.uuid::text
     WHERE ${which} AND ($2::text IS NULL OR host = $2)
       AND ($3::uuid IS NULL OR position > (SELECT position FROM instances WHERE uuid = $3))
     ORDER BY position LIMIT $4`,
    [
      query.uuids === undefined ? null : [...query.uuids],
      query.host ?? null,
      query.marker ?? null,
      query.limit,
      OUTBOX_OWNER,
    ],
  )
  return rows.map((row) => InstanceState.parse({ ...row, updated_at: row.updated_at.toISOString() }))
}
