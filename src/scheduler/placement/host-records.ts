import { createHash } from 'node:crypto'
import type { Database, Queryable } from '../../database/database.ts'
import { InvalidInventory } from '../../errors.ts'
import type { HostReport } from '../../objects/host-report.ts'
import type { Told } from '../telling.ts'
import { noteSeen } from './feed.ts'
import { type ClosedPool, closedPools, refuseOtherModels } from './pool-modes.ts'
import { checkReport } from './report-check.ts'
import { tellOfService } from './service-status.ts'
import { lockHolder, placeOf, refuseUnlessTaken, verdictSql } from './worker-hold.ts'

/** A resource that instances use although the host does not have it any more, or not that much. */
interface Overcommitted {
  readonly provider: string
  readonly resource_class: string
  readonly used: number
  /** Part of `used`; never overcommitted. */
  readonly pinned: number
  readonly capacity: number
  readonly offered: boolean
}

export interface HostRecord {
  /** False: the host lives, and tells what it told before. */
  readonly changed: boolean
  /** Kept as it is for the instances there; takes no more claims. */
  readonly overcommitted: readonly Overcommitted[]
  /** Offered, and off while another model has slots in use. */
  readonly closed: readonly ClosedPool[]
  /** By which a sign of life may speak of it; undefined while the same must be told again, to be looked at again. */
  readonly digest?: string
  /** Where the worker is, or was, that another one follows with this report. */
  readonly tookOverFrom?: string
  /** It is the host's first, and those who watch are told: there is something to send. */
  readonly isTold?: true
}

/**
 * Writes what a host reports: all of it, or nothing when it cannot be true. An unchanged report writes one row.
 *
 * @throws InvalidInventory also when another host has a provider of that name
 * @throws DuplicateHost, StaleReport
 */
export async function recordHost(database: Database, report: HostReport, told?: Told): Promise<HostRecord> {
  const digest = reportDigest(report)
  const [noted] = await noteSeen(database, [{ told: report, digest }])
  if (noted !== undefined) return { changed: false, overcommitted: [], closed: [], digest, ...following(noted.follows) }
  return database.transaction(async (tx) => {
    const holder = await lockHolder(tx, report)
    if (holder !== undefined) refuseUnlessTaken(report, holder)
    const followed = holder?.worker_id && holder.worker_id !== report.worker?.worker_id ? holder.worker_place : null
    checkReport(report)
    await writeHost(tx, report, digest)
    const isNews = holder === undefined && told !== undefined
    if (isNews) await tellOfService(tx, told, 'service.create', report.host)
    await writeProviders(tx, report)
    await writeInventories(tx, report)
    await refuseOtherModels(tx, report)
    await writeTraits(tx, report)
    await removeProviders(tx, report)
    const isOver = await overcommitted(tx, report.host)
    return {
      changed: holder?.report_digest !== digest,
      overcommitted: isOver,
      closed: await closedPools(tx, report.host),
      ...(isOver.every(({ offered }) => offered) && { digest }),
      ...following(followed),
      ...(isNews && { isTold: true }),
    }
  })
}

function following(place: string | null): Pick<HostRecord, 'tookOverFrom'> {
  return place === null ? {} : { tookOverFrom: place }
}

/** Two reports with the same one tell the same of the host, whoever told it. */
export function reportDigest({ worker: _, ...told }: HostReport): string {
  return createHash('sha256').update(JSON.stringify(told)).digest('hex')
}

async function writeHost(tx: Queryable, report: HostReport, digest: string): Promise<void> {
  const { host, providers, report_interval_seconds, worker, ...facts } = report
  const root = providers.find(({ parent_name }) => parent_name === null)?.name
  const written = await tx.query(
    `insert into compute_hosts as h
       (host, facts, root_provider, report_interval_seconds, report_digest, settled, last_seen_up,
        worker_id, report_sequence, worker_place)
     values ($1, $2::jsonb, $3, $4, $5, true, now(), $6, $7, $8)
     on conflict (host) do update set
       facts = excluded.facts, root_provider = excluded.root_provider,
       report_interval_seconds = excluded.report_interval_seconds, report_digest = excluded.report_digest,
       settled = true, last_seen_up = excluded.last_seen_up, down_since = null, worker_id = excluded.worker_id,
       report_sequence = excluded.report_sequence, worker_place = excluded.worker_place, worker_left = false
       where ${verdictSql('excluded.worker_id', 'excluded.report_sequence')} = 'taken'
     returning h.host`,
    [
      host,
      JSON.stringify(facts),
      root,
      report_interval_seconds,
      digest,
      worker?.worker_id ?? null,
      worker?.sequence ?? null,
      worker === undefined ? null : placeOf(worker),
    ],
  )
  if (written.length > 0) return
  // The first report of a host, and another one was first at the same moment.
  const holder = await lockHolder(tx, report)
  if (holder !== undefined) refuseUnlessTaken(report, holder)
}

async function writeProviders(tx: Queryable, { host, providers }: HostReport): Promise<void> {
  const written = await tx.query<{ name: string }>(
    `insert into resource_providers as p (name, host, parent_name)
     select name, $1, parent_name from jsonb_to_recordset($2::jsonb) as r (name text, parent_name text)
      order by name collate "C"
     on conflict (name) do update set parent_name = excluded.parent_name, generation = p.generation + 1
      where p.host = excluded.host
     returning name`,
    [host, JSON.stringify(providers)],
  )
  if (written.length === providers.length) return
  const [other] = await tx.query<{ name: string; host: string }>(
    'select name, host from resource_providers where host <> $1 and name = any($2)',
    [host, providers.map(({ name }) => name)],
  )
  throw new InvalidInventory(
    `the report of ${host} was not taken: provider ${other?.name} belongs to host ${other?.host}; give each host its own name`,
    { host, provider: other?.name, owner: other?.host, fix: 'give each host its own name' },
  )
}

async function writeInventories(tx: Queryable, { host, providers }: HostReport): Promise<void> {
  const rows = providers.flatMap(({ name, inventories }) =>
    Object.entries(inventories).map(([resource_class, inventory]) => ({
      provider: name,
      resource_class,
      ...inventory,
    })),
  )
  // Locked in the order of the claims, so that a report and a claim never wait for each other.
  await tx.query(
    `select from inventories where provider in (select name from resource_providers where host = $1)
      order by provider collate "C", resource_class collate "C" for update`,
    [host],
  )
  await tx.query(
    `insert into inventories
       (provider, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio)
     select provider, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio
       from jsonb_to_recordset($1::jsonb) as r (provider text, resource_class text, total integer, reserved integer,
              min_unit integer, max_unit integer, step_size integer, allocation_ratio double precision)
      order by provider collate "C", resource_class collate "C"
     on conflict (provider, resource_class) do update set
       total = excluded.total, reserved = excluded.reserved, min_unit = excluded.min_unit,
       max_unit = excluded.max_unit, step_size = excluded.step_size, allocation_ratio = excluded.allocation_ratio,
       offered = true`,
    [JSON.stringify(rows)],
  )
  const reported = JSON.stringify(rows.map(({ provider, resource_class }) => ({ provider, resource_class })))
  const notReported = `provider in (select name from resource_providers where host = $1)
    and (provider, resource_class) not in (
      select provider, resource_class from jsonb_to_recordset($2::jsonb) as r (provider text, resource_class text))`
  await tx.query(`delete from inventories where used = 0 and ${notReported}`, [host, reported])
  await tx.query(`update inventories set offered = false where ${notReported}`, [host, reported])
}

async function writeTraits(tx: Queryable, { providers }: HostReport): Promise<void> {
  const rows = JSON.stringify(
    providers.flatMap(({ name, traits }) => traits.map((trait) => ({ provider: name, trait }))),
  )
  const reported = 'select provider, trait from jsonb_to_recordset($1::jsonb) as r (provider text, trait text)'
  await tx.query(`delete from provider_traits where provider = any($2) and (provider, trait) not in (${reported})`, [
    rows,
    providers.map(({ name }) => name),
  ])
  await tx.query(`insert into provider_traits (provider, trait) ${reported} on conflict do nothing`, [rows])
}

/** Those that are reported no more, unless they, or a pool under them, have something in use. */
async function removeProviders(tx: Queryable, { host, providers }: HostReport): Promise<void> {
  await tx.query(
    `delete from resource_providers p where p.host = $1 and p.name <> all($2)
        and not exists (select from inventories i join resource_providers kept on kept.name = i.provider
                         where p.name in (kept.name, kept.parent_name))`,
    [host, providers.map(({ name }) => name)],
  )
}

async function overcommitted(tx: Queryable, host: string): Promise<readonly Overcommitted[]> {
  const found = await tx.query<Overcommitted>(
    `select i.provider, i.resource_class, i.used, i.pinned, inventory_capacity(i) as capacity, i.offered
       from inventories i join resource_providers p on p.name = i.provider
      where p.host = $1 and not (i.offered and inventory_takes(i, 0, 0))
      order by i.provider, i.resource_class`,
    [host],
  )
  // Looked at again with the next report, though that one says the same.
  if (found.some(({ offered }) => !offered)) {
    await tx.query('update compute_hosts set settled = false where host = $1', [host])
  }
  return found
}
