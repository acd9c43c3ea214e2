import type { Queryable } from '../database/database.ts'
import { kept } from '../database/kept-statement.ts'
import type { DatabaseOutbox, StoredAs, toStore } from '../database/outbox.ts'
import { InstanceInvalidState, InstanceNotFound } from '../errors.ts'
import { hot } from '../hot-schema.ts'
import type { InstanceEvents } from '../notifications/instance-events.ts'
import { isActing } from '../objects/action-rules.ts'
import { canBecome, Instance } from '../objects/instance.ts'
import { pageOf } from '../rpc/page.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type CurrentAction, currentAction } from './actions/action-store.ts'
import { currentMove, type MoveRecord } from './migration-store.ts'
import { currentShelving, isShelved, type ShelvingRecord } from './shelve/shelving-store.ts'
import { hasMove } from './stages.ts'

/** An instance with the context of the request that made it, that moves it, or that has something done to it. */
export interface InstanceRecord {
  readonly instance: Instance
  readonly context: RequestContext
  /** Shared by instances that find hosts together or not at all. */
  readonly batch: string | null
  /** That is under way; of a list it is not told. */
  readonly move?: MoveRecord | undefined
  /** What is done to it now; of a list it is not told. */
  readonly action?: CurrentAction | undefined
  /** Of one that is shelved; of a list it is not told. */
  readonly shelving?: ShelvingRecord | undefined
  /** Of what the request had for cloud-init; null: nothing. */
  readonly userDataDigest: string | null
  /** Another one after each change; of what was read for a step that goes without locks. */
  readonly version?: string | undefined
}

/** What may change about a stored instance. */
export type InstanceChanges = Partial<
  Pick<
    Instance,
    | ('vm_state' | 'task_state' | 'host' | 'attempt' | 'mem_encryption' | 'fault' | 'launched_at' | 'terminated_at')
    | ('volumes' | 'interfaces' | 'ip_addresses' | 'flavor' | 'image' | 'availability_zone')
  >
>

/** @returns false when its uuid is there already */
export async function insertInstance(tx: Queryable, record: InstanceRecord): Promise<boolean> {
  const { instance, context, batch, userDataDigest } = record
  const rows = await tx.query(
    `INSERT INTO instances (uuid, name, project_id, user_id, vm_state, task_state, attempt, flavor, image,
       mem_encryption, availability_zone, scheduler_hints, ip_addresses, context, created_at, updated_at, batch,
       config_drive, user_data_digest)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16, $17, $18)
     ON CONFLICT (uuid) DO NOTHING RETURNING uuid`,
    [
      instance.uuid,
      instance.name,
      instance.project_id,
      instance.user_id,
      instance.vm_state,
      instance.task_state,
      instance.attempt,
      JSON.stringify(instance.flavor),
      JSON.stringify(instance.image),
      json(instance.mem_encryption),
      instance.availability_zone,
      JSON.stringify(instance.scheduler_hints),
      JSON.stringify(instance.ip_addresses),
      JSON.stringify(context),
      instance.created_at,
      batch,
      instance.config_drive,
      userDataDigest,
    ],
  )
  return rows.length > 0
}

/** What a statement says that changes many instances, and stores the messages of all of them at once. */
export interface StoredTogether {
  /** In their order; null: none. */
  readonly uuids: readonly string[] | null
  readonly versions: readonly string[] | null
  /** Of the messages of the first, then of the second, …, and then of what is about all. */
  readonly stored: readonly StoredAs[] | null
}

/** What a message is about that is stored whatever becomes of the instances: what it tells is true of all of them. */
export const ABOUT_ALL = '00000000-0000-0000-0000-000000000000'

const BEGIN = kept('SELECT uuids, versions, stored FROM begin_instances($1, $2, $3, $4, $5)')

/**
 * @param messages as `toStore` gives them, about the uuids
 * @returns those whose uuid was not there, with what `outbox_put` returned for their messages
 */
export async function insertInstances(
  db: Queryable,
  records: readonly InstanceRecord[],
  messages: ReturnType<typeof toStore>,
  { owner, leaseMs }: { readonly owner: string; readonly leaseMs: number },
): Promise<StoredTogether | undefined> {
  const rows = records.map(({ instance, context, batch, userDataDigest: user_data_digest }) => ({
    ...instance,
    context,
    batch,
    user_data_digest,
  }))
  return (await db.query<StoredTogether>(BEGIN, [JSON.stringify(rows), ...messages, owner, leaseMs]))[0]
}

/** Nobody else changes it until the transaction ends. @throws InstanceNotFound */
export async function lockInstance(tx: Queryable, uuid: string): Promise<InstanceRecord> {
  return withWork(
    tx,
    one(await tx.query<InstanceRow>('SELECT * FROM instances WHERE uuid = $1 FOR UPDATE', [uuid]), uuid),
  )
}

/** @throws InstanceNotFound */
export async function findInstance(db: Queryable, uuid: string): Promise<InstanceRecord> {
  return withWork(db, one(await db.query<InstanceRow>('SELECT * FROM instances WHERE uuid = $1', [uuid]), uuid))
}

/** By uuid, with their versions; without those that move, are shelved, or have something done to them. */
export async function readInstances(
  db: Queryable,
  uuids: readonly string[],
): Promise<ReadonlyMap<string, InstanceRecord>> {
  const rows = await db.query<InstanceRow>('SELECT *, xmin::text AS version FROM instances WHERE uuid = ANY($1)', [
    uuids,
  ])
  const records = rows
    .map(toRecord)
    .filter(({ instance }) => !hasMove(instance) && !isShelved(instance) && !isActing(instance))
  return new Map(records.map((record) => [record.instance.uuid, record]))
}

export async function findInstances(db: Queryable, uuids: readonly string[]): Promise<readonly InstanceRecord[]> {
  const rows = await db.query<InstanceRow>('SELECT * FROM instances WHERE uuid = ANY($1) ORDER BY position', [uuids])
  return rows.map(toRecord)
}

/** Those of a batch that still have no host, in the order of their acceptance. */
export async function waitingOfBatch(db: Queryable, batch: string): Promise<readonly InstanceRecord[]> {
  const rows = await db.query<InstanceRow>(
    `SELECT * FROM instances
     WHERE batch = $1 AND vm_state = 'building' AND task_state = 'scheduling' AND attempt = 1 ORDER BY position`,
    [batch],
  )
  return rows.map(toRecord)
}

export interface InstanceQuery {
  readonly name?: string | undefined
  readonly host?: string | undefined
  readonly vm_state?: string | undefined
  readonly marker?: string | undefined
  readonly limit: number
}

/** Oldest first; deleted ones only when their state is asked for. */
export async function listInstances(db: Queryable, query: InstanceQuery): Promise<readonly Instance[]> {
  const rows = await db.query<InstanceRow>(
    `SELECT * FROM instances
     WHERE ($1::text IS NULL OR name = $1) AND ($2::text IS NULL OR host = $2)
       AND (CASE WHEN $3::text IS NULL THEN vm_state <> 'deleted' ELSE vm_state = $3 END)
       AND ($4::uuid IS NULL OR position > (SELECT position FROM instances WHERE uuid = $4))
     ORDER BY position LIMIT $5`,
    [query.name ?? null, query.host ?? null, query.vm_state ?? null, query.marker ?? null, query.limit],
  )
  return pageOf(rows.map((row) => toRecord(row).instance))
}

/** Where those hear of changes who watch the states of instances. */
interface Watched {
  readonly events: Pick<InstanceEvents, 'update'>
  readonly outbox: Pick<DatabaseOutbox, 'enqueue'>
}

/**
 * Stores a change of a locked instance, with what those are told who watch its state, and returns it as it is now.
 *
 * @throws InstanceInvalidState when the state must not follow the present one
 */
export async function changeInstance(
  { events, outbox }: Watched,
  tx: Queryable,
  { instance, context }: Pick<InstanceRecord, 'instance' | 'context'>,
  changes: InstanceChanges,
  at: Date,
): Promise<Instance> {
  const next = changed(instance, changes, at)
  await outbox.enqueue(tx, events.update(context, instance, next))
  await tx.query(
    `UPDATE instances SET vm_state = $2, task_state = $3, host = $4, attempt = $5, fault = $6, launched_at = $7,
       terminated_at = $8, updated_at = $9, mem_encryption = $10, volumes = $11, interfaces = $12, ip_addresses = $13
     WHERE uuid = $1`,
    [
      next.uuid,
      next.vm_state,
      next.task_state,
      next.host,
      next.attempt,
      json(next.fault),
      next.launched_at,
      next.terminated_at,
      next.updated_at,
      json(next.mem_encryption),
      JSON.stringify(next.volumes),
      JSON.stringify(next.interfaces),
      JSON.stringify(next.ip_addresses),
    ],
  )
  if (changes.flavor !== undefined) {
    await tx.query('UPDATE instances SET flavor = $2 WHERE uuid = $1', [next.uuid, JSON.stringify(next.flavor)])
  }
  if (changes.availability_zone !== undefined) {
    const sql = 'UPDATE instances SET availability_zone = $2 WHERE uuid = $1'
    await tx.query(sql, [next.uuid, next.availability_zone])
  }
  if (changes.image !== undefined) {
    await tx.query('UPDATE instances SET image = $2 WHERE uuid = $1', [next.uuid, JSON.stringify(next.image)])
  }
  return next
}

/** @throws InstanceInvalidState when the state must not follow the present one */
export function changed(instance: Instance, changes: InstanceChanges, at: Date): Instance {
  const next: Instance = { ...instance, ...changes, updated_at: at.toISOString() }
  if (!canBecome(instance.vm_state, next.vm_state)) {
    throw new InstanceInvalidState(
      `instance ${instance.uuid} is ${instance.vm_state} and cannot become ${next.vm_state}`,
      {
        instance_uuid: instance.uuid,
        vm_state: instance.vm_state,
        asked: next.vm_state,
      },
    )
  }
  return next
}

export interface InstanceRow {
  readonly uuid: string
  readonly created_at: Date
  readonly updated_at: Date
  readonly launched_at: Date | null
  readonly terminated_at: Date | null
  readonly context: RequestContext
  readonly batch: string | null
  readonly user_data_digest: string | null
  readonly version?: string
  readonly [column: string]: unknown
}

async function withWork(db: Queryable, record: InstanceRecord): Promise<InstanceRecord> {
  const { instance } = record
  const move = hasMove(instance) ? await currentMove(db, instance.uuid) : undefined
  const action = isActing(instance) ? await currentAction(db, instance.uuid) : undefined
  const shelving = isShelved(instance) ? await currentShelving(db, instance.uuid) : undefined
  const context = action?.context ?? move?.context ?? shelving?.context ?? record.context
  return { ...record, context, ...(move && { move }), ...(action && { action }), ...(shelving && { shelving }) }
}

function one(rows: readonly InstanceRow[], uuid: string): InstanceRecord {
  const [row] = rows
  if (row !== undefined) return toRecord(row)
  throw new InstanceNotFound(`no instance has the uuid ${uuid}`, {
    instance_uuid: uuid,
    fix: 'list the instances to see their uuids',
  })
}

export function toRecord({
  context,
  batch,
  user_data_digest,
  version,
  position: _,
  ...row
}: InstanceRow): InstanceRecord {
  const instance = hot(Instance).parse({
    ...row,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    launched_at: row.launched_at?.toISOString() ?? null,
    terminated_at: row.terminated_at?.toISOString() ?? null,
  })
  return { instance, context, batch, userDataDigest: user_data_digest, version }
}

function json(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value)
}
