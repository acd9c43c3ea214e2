import type { Database, Queryable } from '../../database/database.ts'
import type { HostReport, ReportingWorker, UnchangedHost } from '../../objects/host-report.ts'
import type { HostState } from '../host-state.ts'
import type { InventoryUse } from './claim.ts'
import { hostStates } from './host-states.ts'
import { placeOf, verdictSql } from './worker-hold.ts'

/** What became of the hosts since a cursor. */
export interface HostChanges {
  /** For the next question. */
  readonly cursor: string
  /** Whole, as they are now; some of them may not have changed. */
  readonly hosts: readonly HostState[]
  /** Of hosts of which nothing else has changed. */
  readonly uses: readonly HostUse[]
  /** Hosts that are no more. */
  readonly removed: readonly string[]
  /** True: `hosts` are all there are, and whoever knows others should forget them. */
  readonly complete: boolean
}

/** What is used of a host, all of it at one moment. */
export interface HostUse {
  readonly host: string
  /** Instances with a claim here. */
  readonly instances: number
  /** Of all its providers. */
  readonly inventories: readonly InventoryUse[]
}

/** A sign of life, apart from what a host has. */
export interface HostSeen {
  readonly host: string
  /** By the database's clock. */
  readonly lastSeenUp: Date
  /** Since when schedulers hold it for dead; undefined: they do not. */
  readonly downSince: Date | undefined
}

/**
 * Hosts that changed since `cursor`, by whomever; all without one, when too long ago, or of another database. What is given may be newer
 * than the cursor and come a second time, but nothing is ever missed: the cursor is the oldest transaction that was
 * still open, and what each one changed is logged under its own number.
 */
export async function changesSince(
  database: Database,
  downAfterIntervals: number,
  cursor?: string,
): Promise<HostChanges> {
  // Mostly nothing has changed but what is used, and one question tells it; where more has, that is told once, below.
  const now = await readLog(database, cursor, 'where that is all')
  const isAll = now.known && now.changed.length === 0
  const changes = isAll
    ? { cursor: now.cursor, hosts: [], uses: now.uses, removed: [], complete: false }
    : await database.transaction(async (tx) => {
        // One snapshot for log and hosts: who is refused by what was read is refused for what was so at one moment.
        await tx.query('set transaction isolation level repeatable read')
        return await readChanges(tx, downAfterIntervals, cursor)
      })
  if (now.due) await database.query('select rotate_host_changes()')
  return changes
}

interface LogReading {
  readonly cursor: string
  /** Nothing is forgotten that came after the cursor that was asked with. */
  readonly known: boolean
  readonly due: boolean
  readonly changed: readonly string[]
  /** Of the others; none where they were asked for only if nothing else has changed, and something has. */
  readonly uses: readonly HostUse[]
}

/**
 * Whose transactions are counted. Another database, or the same restored or taken over by a standby that lacked the last, has the
 * same numbers for others, and mostly ones that are as high: it is told by its tables, or by when its server was started.
 */
const COUNTER = `
  format('%s.%s.%s', (select oid from pg_database where datname = current_database()), 'host_changes'::regclass::oid,
         extract(epoch from pg_postmaster_start_time()))`

async function readLog(
  database: Queryable,
  cursor: string | undefined,
  uses: 'always' | 'where that is all',
): Promise<LogReading> {
  const [counter, xid] = cursor?.split('/') ?? []
  const [now] = await database.query<LogReading>(
    `with log as materialized (
       select format('%s/%s', counter, pg_snapshot_xmin(pg_current_snapshot())) as cursor,
              coalesce(counter = $3 and $1::xid8 >= since and $1::xid8 <= pg_snapshot_xmax(pg_current_snapshot()), false)
                as known,
              rotated_at < now() - interval '1 minute' as due
         from host_changes_kept, (select ${COUNTER} as counter) as its),
     changed as materialized (
       select host, bool_and(use_only) as is_use from host_changes
        where changed_xid >= $1::xid8 and (select known from log) group by host)
     select log.*, array(select host from changed where not is_use) as changed,
            coalesce((select json_agg(uses) from (
              select c.host, (select count(*) from consumers n where n.host = c.host) as instances,
                     coalesce((select json_agg(inventory) from (
                        select i.provider, i.resource_class, i.used, i.pinned, i.version
                          from resource_providers p join inventories i on i.provider = p.name
                         where p.host = c.host) as inventory), '[]') as inventories
                from changed c
               where c.is_use and ($2::boolean or not exists (select from changed where not is_use))) as uses), '[]') as uses
       from log`,
    [xid ?? null, uses === 'always', counter ?? null],
  )
  if (now === undefined) throw new Error('the table host_changes_kept has lost its row')
  return now
}

async function readChanges(
  database: Queryable,
  downAfterIntervals: number,
  cursor: string | undefined,
): Promise<HostChanges> {
  const now = await readLog(database, cursor, 'always')
  if (!now.known) {
    const hosts = await hostStates(database, downAfterIntervals)
    return { cursor: now.cursor, hosts, uses: [], removed: [], complete: true }
  }
  const hosts = now.changed.length > 0 ? await hostStates(database, downAfterIntervals, now.changed) : []
  const there = new Set(hosts.map(({ host }) => host))
  const removed = now.changed.filter((host) => !there.has(host))
  return { cursor: now.cursor, hosts, uses: now.uses, removed, complete: false }
}

/** @param since only those seen at or after it; a little earlier than the latest known, for commits that were late */
export async function hostsSeen(database: Queryable, since?: Date): Promise<readonly HostSeen[]> {
  // As numbers: of ten thousand hosts some thousand a second are read here, and a date takes longer than all the rest.
  const rows = await database.query<{ host: string; seen_ms: number; down_ms: number | null }>(
    `select host, extract(epoch from last_seen_up)::double precision * 1000 as seen_ms,
            extract(epoch from down_since)::double precision * 1000 as down_ms
       from compute_hosts where $1::timestamptz is null or last_seen_up >= $1 or down_since >= $1`,
    [since ?? null],
  )
  return rows.map(({ host, seen_ms, down_ms }) => ({
    host,
    lastSeenUp: new Date(seen_ms),
    downSince: down_ms === null ? undefined : new Date(down_ms),
  }))
}

/** What a host says of itself: all of it, or that it is as it was. */
export type ToldOfHost = HostReport | UnchangedHost

interface SignOfLife {
  readonly told: ToldOfHost
  /** By which it may say from now on that nothing is new. */
  readonly digest: string
}

export interface Noted extends SignOfLife {
  /** Where the worker is, or was, that another one follows; null: it is the same. */
  readonly follows: string | null
}

/**
 * Notes that hosts live and still have what they told: one statement for many.
 *
 * A worker that is taken and says no more than that nothing is new lives, even if the database has something else: it
 * will be told with the next report.
 *
 * @returns those of the reports that say what the database has, and come from whom it takes them; the others tell
 *   something new, or are to be refused, and must be recorded
 */
export async function noteSeen(database: Queryable, seen: readonly SignOfLife[]): Promise<readonly Noted[]> {
  const workers = seen.map(({ told }): ReportingWorker | undefined => told.worker)
  const noted = await database.query<{ place: number; follows: string | null }>(
    // Locked in one order, so that the batches of two schedulers do not wait for each other.
    `with living as (
       select h.host, s.place, s.worker_id, s.sequence, s.worker_place,
              case when h.worker_id is distinct from s.worker_id then h.worker_place end as follows
         from compute_hosts h
         join unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[]) with ordinality
              as s (host, digest, worker_id, sequence, worker_place, is_brief, place)
           on h.host = s.host
          and (h.report_digest = s.digest and h.settled or s.is_brief and h.worker_id = s.worker_id)
          and ${verdictSql('s.worker_id', 's.sequence')} = 'taken'
        order by h.host for no key update of h)
     update compute_hosts h
        set last_seen_up = now(), down_since = null, worker_id = living.worker_id,
            report_sequence = living.sequence, worker_place = living.worker_place, worker_left = false
       from living where h.host = living.host
     returning living.place - 1 as place, living.follows`,
    [
      seen.map(({ told }) => told.host),
      seen.map(({ digest }) => digest),
      workers.map((worker) => worker?.worker_id ?? null),
      workers.map((worker) => worker?.sequence ?? null),
      workers.map((worker) => (worker === undefined ? null : placeOf(worker))),
      seen.map(({ told }) => 'report_digest' in told),
    ],
  )
  return noted.map(({ place, follows }) => ({ ...(seen[place] as SignOfLife), follows }))
}

/** Notes that hosts are held for dead, until their next sign of life. */
export async function noteDown(database: Queryable, hosts: readonly string[]): Promise<void> {
  await database.query(
    `with silent as (
       select host from compute_hosts where host = any($1) and down_since is null order by host for no key update)
     update compute_hosts h set down_since = now() from silent where h.host = silent.host`,
    [[...hosts]],
  )
}
