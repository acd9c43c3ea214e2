import type { Queryable } from '../database/database.ts'
import type { Fault } from '../objects/fault.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { ImageMeta } from '../objects/image-meta.ts'
import type { VmState } from '../objects/instance.ts'
import { InstanceMigration } from '../objects/instance-migration.ts'
import type { LeftDisks } from '../objects/left-disks.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { Migration } from '../objects/request-spec.ts'
import type { RequestContext } from '../rpc/request-context.ts'

/** A move of an instance that is under way, or that has left a guest behind. */
export interface MoveRecord {
  readonly uuid: string
  readonly instance_uuid: string
  readonly type: Migration['type']
  readonly status: InstanceMigration['status']
  /** Where it comes from, with the try and the encryption that its guest has there: what it goes back to. */
  readonly source_host: string
  readonly source_attempt: number
  readonly source_encryption: MemEncryption | null
  /** Its tries begin with this one. */
  readonly first_attempt: number
  /** Only there; null: wherever a scheduler finds. */
  readonly asked_host: string | null
  /** Where it goes, once that is known. */
  readonly dest_host: string | null
  /** ISO 8601; since then a guest runs at the destination. */
  readonly arrived_at: string | null
  /** Of a resize; null: the flavor stays as it is. */
  readonly source_flavor: Flavor | null
  readonly new_flavor: Flavor | null
  /** Of a rebuild. */
  readonly source_image: ImageMeta | null
  readonly new_image: ImageMeta | null
  /** What it is again when it rests; null: what it is. */
  readonly source_vm_state: VmState | null
  /** Of a rebuild, until its host has been told: the least that it may run with. */
  readonly dest_encryption: MemEncryption | null
  /** As the source has made them ready for the destination. */
  readonly disks: LeftDisks | null
  /** The try that may have a guest at a destination that was fenced; null: none. */
  readonly dest_attempt: number | null
  /** Why it goes back; null: somebody wanted it. */
  readonly fault: Fault | null
  /** Who asked for the move: goes with every message about it. */
  readonly context: RequestContext
}

type Later = 'status' | 'arrived_at' | 'dest_attempt' | 'disks' | 'fault'
type OfSome =
  | ('source_flavor' | 'new_flavor' | 'source_vm_state')
  | ('source_image' | 'new_image' | 'dest_host' | 'dest_encryption')
type NewMove = Omit<MoveRecord, Later | OfSome> & Partial<Pick<MoveRecord, OfSome>>

export async function insertMove(tx: Queryable, move: NewMove, at: Date): Promise<void> {
  await tx.query(
    `INSERT INTO migrations (uuid, instance_uuid, type, status, source_host, source_attempt, source_encryption,
       first_attempt, asked_host, context, created_at, updated_at, asked_at, source_flavor, new_flavor, source_vm_state,
       source_image, new_image, dest_host, dest_encryption)
     VALUES ($1, $2, $3, 'accepted', $4, $5, $6, $7, $8, $9, $10, $10, $10, $11, $12, $13, $14, $15, $16, $17)`,
    [
      move.uuid,
      move.instance_uuid,
      move.type,
      move.source_host,
      move.source_attempt,
      json(move.source_encryption),
      move.first_attempt,
      move.asked_host,
      JSON.stringify(move.context),
      at,
      json(move.source_flavor),
      json(move.new_flavor),
      move.source_vm_state ?? null,
      json(move.source_image),
      json(move.new_image),
      move.dest_host ?? null,
      json(move.dest_encryption),
    ],
  )
}

/** A guest runs at the destination. */
export async function noteArrival(tx: Queryable, uuid: string, host: string, arrivedAt: string, at: Date) {
  await tx.query(
    'UPDATE migrations SET arrived_at = $2, dest_host = $3, updated_at = $4, asked_at = $4 WHERE uuid = $1',
    [uuid, arrivedAt, host, at],
  )
}

/** The host that a resize goes to, and what it will run with there. */
export async function noteDestination(
  tx: Queryable,
  uuid: string,
  { host, encryption }: { readonly host: string; readonly encryption: MemEncryption | null },
  at: Date,
): Promise<void> {
  const sql = 'UPDATE migrations SET dest_host = $2, dest_encryption = $3, updated_at = $4 WHERE uuid = $1'
  await tx.query(sql, [uuid, host, json(encryption), at])
}

export async function noteDisks(tx: Queryable, uuid: string, disks: LeftDisks, at: Date): Promise<void> {
  await tx.query('UPDATE migrations SET disks = $2, updated_at = $3 WHERE uuid = $1', [uuid, JSON.stringify(disks), at])
}

/** Somebody has decided about it, or something has gone wrong at its destination. */
export async function decideMove(
  tx: Queryable,
  uuid: string,
  { status, fault = null }: { readonly status: 'confirming' | 'reverting'; readonly fault?: Fault | null },
  at: Date,
): Promise<void> {
  const sql = 'UPDATE migrations SET status = $2, fault = $3, updated_at = $4, asked_at = $4 WHERE uuid = $1'
  await tx.query(sql, [uuid, status, json(fault), at])
}

export type MoveEnd = 'finished' | 'done' | 'completed' | 'failed' | 'reverted'

export async function endMove(tx: Queryable, uuid: string, status: MoveEnd, at: Date) {
  await tx.query('UPDATE migrations SET status = $2, updated_at = $3 WHERE uuid = $1', [uuid, status, at])
}

/** What runs at its destination, should that come back, is to go; null: the destination has nothing of it. */
export async function noteLeftThere(tx: Queryable, uuid: string, attempt: number | null, at: Date): Promise<void> {
  await tx.query('UPDATE migrations SET dest_attempt = $2, updated_at = $3 WHERE uuid = $1', [uuid, attempt, at])
}

/** The source was asked again to remove its guest. */
export async function noteAsked(tx: Queryable, uuid: string, at: Date): Promise<void> {
  await tx.query('UPDATE migrations SET asked_at = $2 WHERE uuid = $1', [uuid, at])
}

export async function findMove(tx: Queryable, uuid: string): Promise<MoveRecord | undefined> {
  return toMove(await tx.query<MoveRow>('SELECT * FROM migrations WHERE uuid = $1', [uuid]))[0]
}

/** The one that is under way, or waits for a decision. */
export async function currentMove(db: Queryable, instanceUuid: string): Promise<MoveRecord | undefined> {
  const sql = `SELECT * FROM migrations WHERE instance_uuid = $1 AND status IN ('accepted', 'finished', 'confirming', 'reverting')`
  return toMove(await db.query<MoveRow>(sql, [instanceUuid]))[0]
}

/** Moves whose guest on this host is to go, in an order of their own: the instance lives elsewhere, or only waits for that. */
export async function departuresFrom(db: Queryable, host: string, after: string | undefined, limit: number) {
  const rows = await db.query<MoveRow>(
    `SELECT * FROM migrations
     WHERE ($2::uuid IS NULL OR uuid > $2)
       AND (source_host = $1 AND (status IN ('done', 'confirming') OR status = 'accepted' AND arrived_at IS NOT NULL)
         OR dest_host = $1 AND dest_attempt IS NOT NULL)
     ORDER BY uuid LIMIT $3`,
    [host, after ?? null, limit],
  )
  return toMove(rows)
}

/**
 * Moves whose source has not said for the build timeout that its guest is gone: the next question comes after twice the
 * time, for the host may be dead for good, and what it is told waits in its queue.
 */
export async function unansweredMoves(db: Queryable, now: Date, timeoutMs: number, limit: number) {
  return db.query<{ uuid: string; instance_uuid: string }>(
    `SELECT uuid, instance_uuid FROM migrations
     WHERE status = 'done' AND asked_at < $1 AND $2::timestamptz - asked_at > asked_at - created_at ORDER BY asked_at LIMIT $3`,
    [new Date(now.getTime() - timeoutMs), now, limit],
  )
}

export async function allDepartures(db: Queryable): Promise<readonly { uuid: string; instance_uuid: string }[]> {
  return db.query(`SELECT uuid, instance_uuid FROM migrations WHERE status = 'done' ORDER BY created_at`)
}

/** Where a guest of it may be still that it left. */
export async function hostsLeft(db: Queryable, instanceUuid: string): Promise<readonly string[]> {
  const rows = await db.query<{ source_host: string }>(
    `SELECT DISTINCT source_host FROM migrations WHERE instance_uuid = $1
       AND status IN ('accepted', 'finished', 'confirming', 'reverting', 'done')`,
    [instanceUuid],
  )
  return rows.map(({ source_host }) => source_host)
}

export async function listMoves(db: Queryable, instanceUuid: string): Promise<readonly InstanceMigration[]> {
  const rows = await db.query<{
    source_flavor: Flavor | null
    new_flavor: Flavor | null
    created_at: Date
    updated_at: Date
  }>('SELECT * FROM migrations WHERE instance_uuid = $1 ORDER BY first_attempt', [instanceUuid])
  return rows.map((row) =>
    InstanceMigration.parse({
      ...row,
      source_flavor: row.source_flavor?.name ?? null,
      new_flavor: row.new_flavor?.name ?? null,
      created_at: row.created_at.toISOString(),
      updated_at: row.updated_at.toISOString(),
    }),
  )
}

interface MoveRow extends Omit<MoveRecord, 'arrived_at'> {
  readonly arrived_at: Date | null
}

function toMove(rows: readonly MoveRow[]): readonly MoveRecord[] {
  return rows.map((row) => ({ ...row, arrived_at: row.arrived_at?.toISOString() ?? null }))
}

function json(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value)
}
