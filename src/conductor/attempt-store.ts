import type { Queryable } from '../database/database.ts'
import { BuildAttempt } from '../objects/instance.ts'
import type { Allocation, Selection } from '../objects/request-spec.ts'
import type { SchedulingReport } from '../objects/scheduling-report.ts'

import type { InstanceRecord } from './instance-store.ts'

/** So much of the words of one failure is told where there may be several. */
export const MAX_FAILURE = 300

/** One try of one instance. */
export interface AttemptKey {
  readonly uuid: string
  readonly attempt: number
}

/** The tries of what is done now begin with this one: earlier ones were of an earlier time. */
export function firstAttemptOf({ move, shelving }: Pick<InstanceRecord, 'move' | 'shelving'>): number {
  return move?.first_attempt ?? shelving?.first_attempt ?? 1
}

export async function startAttempt(tx: Queryable, { uuid, attempt }: AttemptKey, at: Date): Promise<void> {
  await tx.query(
    `INSERT INTO build_attempts (instance_uuid, attempt, outcome, started_at) VALUES ($1, $2, 'scheduling', $3)`,
    [uuid, attempt, at],
  )
}

/** A host was found: why it was this one is kept with it. */
export async function placeAttempt(tx: Queryable, key: AttemptKey, selection: Selection): Promise<void> {
  await tx.query(
    `UPDATE build_attempts SET outcome = 'spawning', host = $3, allocations = $4, report = $5
     WHERE instance_uuid = $1 AND attempt = $2`,
    [key.uuid, key.attempt, selection.host, JSON.stringify(selection.allocations), JSON.stringify(selection.report)],
  )
}

export interface AttemptEnd {
  readonly outcome: 'active' | 'failed' | 'no valid host' | 'aborted'
  readonly reason: string | null
  readonly report?: SchedulingReport | undefined
}

export async function endAttempt(tx: Queryable, key: AttemptKey, end: AttemptEnd, at: Date): Promise<void> {
  await tx.query(
    `UPDATE build_attempts SET outcome = $3, reason = $4, report = COALESCE($5, report), ended_at = $6
     WHERE instance_uuid = $1 AND attempt = $2 AND ended_at IS NULL`,
    [key.uuid, key.attempt, end.outcome, end.reason, end.report ? JSON.stringify(end.report) : null, at],
  )
}

export async function attemptStartedAt(db: Queryable, { uuid, attempt }: AttemptKey): Promise<Date> {
  const [row] = await db.query<{ started_at: Date }>(
    'SELECT started_at FROM build_attempts WHERE instance_uuid = $1 AND attempt = $2',
    [uuid, attempt],
  )
  return row?.started_at ?? new Date(0)
}

/** What the try was given on its host. */
export async function allocationsOf(db: Queryable, { uuid, attempt }: AttemptKey): Promise<readonly Allocation[]> {
  const [row] = await db.query<{ allocations: readonly Allocation[] }>(
    'SELECT allocations FROM build_attempts WHERE instance_uuid = $1 AND attempt = $2',
    [uuid, attempt],
  )
  return row?.allocations ?? []
}

/** The try that had become active ran until its host died, or until the instance lived under another try. */
export async function leaveAttempt(
  tx: Queryable,
  { uuid, attempt }: AttemptKey,
  outcome: 'evacuated' | 'moved' | 'reverted' | 'rebuilt' | 'shelved',
  reason: string,
): Promise<void> {
  await tx.query('UPDATE build_attempts SET outcome = $3, reason = $4 WHERE instance_uuid = $1 AND attempt = $2', [
    uuid,
    attempt,
    outcome,
    reason,
  ])
}

/** The highest number that a try of it has had, whatever became of it. */
export async function lastAttempt(db: Queryable, uuid: string): Promise<number> {
  const [row] = await db.query<{ last: number | null }>(
    'SELECT max(attempt) AS last FROM build_attempts WHERE instance_uuid = $1',
    [uuid],
  )
  return row?.last ?? 0
}

/** Hosts where this instance has failed from this try on: the next one leaves them out. */
export async function failedHosts(db: Queryable, uuid: string, fromAttempt = 1): Promise<readonly string[]> {
  const rows = await db.query<{ host: string }>(
    `SELECT DISTINCT host FROM build_attempts
     WHERE instance_uuid = $1 AND attempt >= $2 AND outcome = 'failed' AND host IS NOT NULL`,
    [uuid, fromAttempt],
  )
  return rows.map(({ host }) => host)
}

/** Why tries of it have failed on their hosts, in words, from this try on: `h1: SPAWN_FAILED: no QEMU; h2: …`. */
export async function failuresOf(db: Queryable, uuid: string, fromAttempt = 1): Promise<string | undefined> {
  const rows = await db.query<{ host: string; reason: string }>(
    `SELECT host, reason FROM build_attempts
     WHERE instance_uuid = $1 AND attempt >= $2 AND outcome = 'failed' AND host IS NOT NULL ORDER BY attempt`,
    [uuid, fromAttempt],
  )
  if (rows.length === 0) return undefined
  return rows.map(({ host, reason }) => `${host}: ${reason.slice(0, MAX_FAILURE)}`).join('; ')
}

export async function listAttempts(db: Queryable, uuid: string): Promise<readonly BuildAttempt[]> {
  const rows = await db.query<{ started_at: Date; ended_at: Date | null }>(
    `SELECT attempt, host, outcome, reason, allocations, report, started_at, ended_at
     FROM build_attempts WHERE instance_uuid = $1 ORDER BY attempt`,
    [uuid],
  )
  return rows.map((row) =>
    BuildAttempt.parse({
      ...row,
      started_at: row.started_at.toISOString(),
      ended_at: row.ended_at?.toISOString() ?? null,
    }),
  )
}
