import type { Queryable } from '../../database/database.ts'
import type { Fault } from '../../objects/fault.ts'
import { ActionRecord, type ActionResult, type InstanceAction } from '../../objects/instance-action.ts'
import type { RequestContext } from '../../rpc/request-context.ts'

/** The action of an instance that is under way. */
export interface CurrentAction {
  readonly number: number
  readonly action: InstanceAction
  /** Who asked for it: goes with every message about it. */
  readonly context: RequestContext
}

/** The instance must be locked, so that no other has this number. @returns its number */
export async function insertAction(
  tx: Queryable,
  uuid: string,
  { action, context }: Omit<CurrentAction, 'number'>,
  at: Date,
): Promise<number> {
  const rows = await tx.query<{ number: number }>(
    `INSERT INTO instance_actions (instance_uuid, number, action, status, context, started_at)
     SELECT $1::uuid, COALESCE(max(number), 0) + 1, $2::jsonb, 'accepted', $3::jsonb, $4::timestamptz
     FROM instance_actions WHERE instance_uuid = $1
     RETURNING number`,
    [uuid, JSON.stringify(action), JSON.stringify(context), at],
  )
  return (rows[0] as { number: number }).number
}

/** 0: nothing was ever done to it. */
export async function lastActionNumber(db: Queryable, uuid: string): Promise<number> {
  const sql = 'SELECT COALESCE(max(number), 0) AS number FROM instance_actions WHERE instance_uuid = $1'
  return (await db.query<{ number: number }>(sql, [uuid]))[0]?.number ?? 0
}

export async function currentAction(db: Queryable, uuid: string): Promise<CurrentAction | undefined> {
  const rows = await db.query<CurrentAction>(
    `SELECT number, action, context FROM instance_actions WHERE instance_uuid = $1 AND status = 'accepted'`,
    [uuid],
  )
  return rows[0]
}

/** Of the one that is under way: something more is wanted of it. */
export async function changeAction(tx: Queryable, uuid: string, { number, action }: CurrentAction): Promise<void> {
  const sql = 'UPDATE instance_actions SET action = $3 WHERE instance_uuid = $1 AND number = $2'
  await tx.query(sql, [uuid, number, JSON.stringify(action)])
}

/** Ends the one that is under way, if any. */
export async function endAction(
  tx: Queryable,
  uuid: string,
  status: 'completed' | 'failed' | 'given up',
  fault: Fault | null,
  at: Date,
  result: ActionResult | null = null,
): Promise<void> {
  const json = (value: object | null) => (value === null ? null : JSON.stringify(value))
  await tx.query(
    `UPDATE instance_actions SET status = $2, fault = $3, ended_at = $4, result = $5
     WHERE instance_uuid = $1 AND status = 'accepted'`,
    [uuid, status, json(fault), at, json(result)],
  )
}

/**
 * The last one was a part of a move, and nobody has heard how it ended: its guest may be off, and its disks set aside.
 *
 * @returns of which; undefined: it was none
 */
export async function mayHaveLeft(db: Queryable, uuid: string): Promise<'resize' | 'live_migration' | undefined> {
  const rows = await db.query<Pick<CurrentAction, 'action'> & { readonly status: string }>(
    'SELECT action, status FROM instance_actions WHERE instance_uuid = $1 ORDER BY number DESC LIMIT 1',
    [uuid],
  )
  const [last] = rows
  if (last?.status !== 'given up') return undefined
  const { name } = last.action
  if (name === 'rollback_live_migration') return 'live_migration'
  return name === 'resize_instance' || name === 'finish_revert_resize' ? 'resize' : undefined
}

/** Oldest first. */
export async function listActions(db: Queryable, uuid: string): Promise<readonly ActionRecord[]> {
  const rows = await db.query<{ context: RequestContext; started_at: Date; ended_at: Date | null }>(
    'SELECT * FROM instance_actions WHERE instance_uuid = $1 ORDER BY number',
    [uuid],
  )
  return rows.map(({ context, started_at, ended_at, ...row }) =>
    ActionRecord.parse({
      ...row,
      request_id: context.request_id ?? null,
      started_at: started_at.toISOString(),
      ended_at: ended_at?.toISOString() ?? null,
    }),
  )
}
