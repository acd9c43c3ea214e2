import type { Queryable } from '../database/database.ts'
import { InstanceState } from '../objects/instance.ts'

export interface InstanceStateQuery {
  readonly uuids?: readonly string[] | undefined
  readonly host?: string | undefined
  readonly marker?: string | undefined
  readonly limit: number
}

/** Without flavor, image and fault: of 100,000 instances a few pages, and not hundreds. */
export async function listInstanceStates(db: Queryable, query: InstanceStateQuery): Promise<readonly InstanceState[]> {
  // Each with the condition that its index is made for.
  const which = query.uuids === undefined ? `$1::uuid[] IS NULL AND vm_state <> 'deleted'` : 'uuid = ANY($1)'
  const rows = await db.query<{ updated_at: Date }>(
    `SELECT uuid, name, vm_state, task_state, host, attempt, mem_encryption->>'model' AS model, updated_at
     FROM instances
     WHERE ${which} AND ($2::text IS NULL OR host = $2)
       AND ($3::uuid IS NULL OR position > (SELECT position FROM instances WHERE uuid = $3))
     ORDER BY position LIMIT $4`,
    [query.uuids === undefined ? null : [...query.uuids], query.host ?? null, query.marker ?? null, query.limit],
  )
  return rows.map((row) => InstanceState.parse({ ...row, updated_at: row.updated_at.toISOString() }))
}
