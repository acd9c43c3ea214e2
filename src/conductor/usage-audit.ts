import type { Queryable } from '../database/database.ts'
import { type AuditPeriod, type AuditPeriodSetting, periodsSince } from '../notifications/audit-period.ts'
import type { InstanceExistence } from '../notifications/instance-events.ts'
import type { Instance } from '../objects/instance.ts'
import { type InstanceRow, toRecord } from './instance-store.ts'
import type { ConductorPorts } from './ports.ts'

/** So many instances are told of in one transaction. */
const PAGE = 200

type AuditPorts = Pick<ConductorPorts, 'database' | 'outbox' | 'events' | 'now'>

/**
 * Tells `instance.exists` of every instance that lived in each audit period that has ended since the last look. How far a
 * period is told is stored with what is told of it, so each is told once, whoever dies, and by one conductor at a time.
 *
 * @returns how many were told of
 */
export async function auditUsage(ports: AuditPorts, setting: AuditPeriodSetting): Promise<number> {
  await noteEnded(ports, setting)
  let told = 0
  for (let page: number | undefined = 0; page !== undefined; ) {
    page = await ports.database.transaction((tx) => tellPage(ports, tx))
    told += page ?? 0
    if (page) ports.outbox.announce()
  }
  return told
}

/** Periods that passed while no conductor ran are told, too; the first conductor of all tells the last one. */
async function noteEnded({ database, now }: AuditPorts, setting: AuditPeriodSetting): Promise<void> {
  const [row] = await database.query<{ last: Date | null }>('SELECT max(ending) AS last FROM instance_usage_audits')
  for (const { beginning, ending } of periodsSince(setting, row?.last ?? undefined, now())) {
    await database.query(
      'INSERT INTO instance_usage_audits (beginning, ending) VALUES ($1, $2) ON CONFLICT (ending) DO NOTHING',
      [beginning, ending],
    )
  }
}

/** @returns undefined when nothing is left, or another conductor is at it */
async function tellPage({ outbox, events }: AuditPorts, tx: Queryable): Promise<number | undefined> {
  const [audit] = await tx.query<AuditPeriod & { marker: string | null }>(
    `SELECT beginning, ending, marker::text FROM instance_usage_audits
     WHERE ending = (SELECT min(ending) FROM instance_usage_audits WHERE finished_at IS NULL) FOR UPDATE SKIP LOCKED`,
  )
  if (audit === undefined) return undefined
  const instances = await livedIn(tx, audit, audit.marker)
  await outbox.enqueue(
    tx,
    instances.map((existence) => events.exists(existence, audit)),
  )
  await tx.query(
    `UPDATE instance_usage_audits SET marker = COALESCE($2::uuid, marker), told = told + $3,
       finished_at = CASE WHEN $3 < $4 THEN now() END WHERE ending = $1`,
    [audit.ending, instances.at(-1)?.instance.uuid ?? null, instances.length, PAGE],
  )
  return instances.length
}

/**
 * Locked, so that what is told stands among the other notifications of its instance where it was so. One that has moved
 * runs since later than it lived. One that is shelved is on no host, and not told of, as in Nova: what ended it was told.
 */
async function livedIn(tx: Queryable, period: AuditPeriod, after: string | null): Promise<InstanceExistence[]> {
  const rows = await tx.query<InstanceRow & { last_host: string | null }>(
    `SELECT i.*, (SELECT t.host FROM build_attempts t WHERE t.instance_uuid = i.uuid AND t.attempt = i.attempt) AS last_host
       FROM instances i
      WHERE ($3::uuid IS NULL OR i.uuid > $3) AND i.launched_at IS NOT NULL
        AND (i.launched_at < $2 OR (i.created_at < $2 AND EXISTS (
              SELECT FROM migrations m WHERE m.instance_uuid = i.uuid AND m.status IN ('done', 'completed'))))
        AND (i.terminated_at IS NULL OR i.terminated_at > $1) AND i.vm_state <> 'shelved_offloaded'
      ORDER BY i.uuid LIMIT ${PAGE} FOR UPDATE OF i`,
    [period.beginning, period.ending, after],
  )
  return rows.map(({ last_host, ...row }) => {
    const { instance, context } = toRecord(row)
    return { context, instance: onItsHost(instance, last_host) }
  })
}

/** What is deleted is on no host any more: it is told of where it was. */
function onItsHost(instance: Instance, lastHost: string | null): Instance {
  return instance.vm_state === 'deleted' ? { ...instance, host: lastHost } : instance
}
