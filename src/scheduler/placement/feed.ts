import type { Database, Queryable } from '../../database/database.ts'
import type { HostReport } from '../../objects/host-report.ts'
import type { HostState } from '../host-state.ts'
import { hostStates } from './host-states.ts'
import { placeOf, verdictSql } from './worker-hold.ts'

/** What became of the hosts since a cursor. */
export interface HostChanges {
  /** For the next question. */
  readonly cursor: string
  /** Whole, as they are now; some of them may not have changed. */
  readonly hosts: readonly HostState[]
  /** Hosts that are no more. */
  readonly removed: readonly string[]
  /** True: `hosts` are all there are, and whoever knows others should forget them. */
  readonly complete: boolean
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
 * Hosts that changed since `cursor`, by whomever; all without one, or when too long ago. What is given may be newer
 * than the cursor and come a second time, but nothing is ever missed: the cursor is the oldest transaction that was
 * still open, and what each one changed is logged under its own number.
 */
export async function changesSince(
  database: Database,
  downAfterIntervals: number,
  cursor?: string,
): Promise<HostChanges> {
  const { changes, isDue } = await database.transaction(async (tx) => {
    // One snapshot for log and hosts: who is refused by what was read is refused for what was so at one moment.
    await tx.query('set transaction isolation level repeatable read')
    return await readChanges(tx, downAfterIntervals, cursor)
  })
  if (isDue) await database.query('select rotate_host_changes()')
  return changes
}

async function readChanges(
  database: Queryable,
  downAfterIntervals: number,
  cursor: string | undefined,
): Promise<{ readonly changes: HostChanges; readonly isDue: boolean }> {
  const [now] = await database.query<{ cursor: string; known: boolean; due: boolean; changed: string[] }>(
    `select pg_snapshot_xmin(pg_current_snapshot())::text as cursor,
            coalesce($1::xid8 >= kept.since and $1::xid8 <= pg_snapshot_xmax(pg_current_snapshot()), false) as known,
            kept.rotated_at < now() - interval '1 minute' as due,
            array(select distinct c.host from host_changes c where c.changed_xid >= $1::xid8) as changed
       from host_changes_kept kept`,
    [cursor ?? null],
  )
  if (now === undefined) throw new Error('the table host_changes_kept has lost its row')
  if (!now.known) {
    const all = await hostStates(database, downAfterIntervals)
    return { changes: { cursor: now.cursor, hosts: all, removed: [], complete: true }, isDue: now.due }
  }
  const hosts = now.changed.length > 0 ? await hostStates(database, downAfterIntervals, now.changed) : []
  const there = new Set(hosts.map(({ host }) => host))
  const removed = now.changed.filter((host) => !there.has(host))
  return { changes: { cursor: now.cursor, hosts, removed, complete: false }, isDue: now.due }
}

/** @param since only those seen at or after it; a little earlier than the latest known, for commits that were late */
export async function hostsSeen(database: Queryable, since?: Date): Promise<readonly HostSeen[]> {
  const rows = await database.query<{ host: string; last_seen_up: Date; down_since: Date | null }>(
    `select host, last_seen_up, down_since from compute_hosts
      where $1::timestamptz is null or last_seen_up >= $1 or down_since >= $1`,
    [since ?? null],
  )
  return rows.map(({ host, last_seen_up, down_since }) => ({
    host,
    lastSeenUp: last_seen_up,
    downSince: down_since ?? undefined,
  }))
}

/**
 * Notes that hosts live and still have what they told: one statement for many.
 *
 * @returns those of the reports that say what the database has, and come from whom it takes them; the others tell
 *   something new, or are to be refused, and must be recorded
 */
export async function noteSeen(
  database: Queryable,
  seen: readonly { readonly report: HostReport; readonly digest: string }[],
): Promise<readonly HostReport[]> {
  const workers = seen.map(({ report: { worker } }) => worker)
  const noted = await database.query<{ place: number }>(
    // Locked in one order, so that the batches of two schedulers do not wait for each other.
    `with living as (
       select h.host, s.place, s.worker_id, s.sequence, s.worker_place
         from compute_hosts h
         join unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) with ordinality
              as s (host, digest, worker_id, sequence, worker_place, place)
           on h.host = s.host and h.report_digest = s.digest and h.settled
          and ${verdictSql('s.worker_id', 's.sequence')} = 'taken'
        order by h.host for no key update of h)
     update compute_hosts h
        set last_seen_up = now(), down_since = null, worker_id = living.worker_id,
            report_sequence = living.sequence, worker_place = living.worker_place, worker_left = false
       from living where h.host = living.host
     returning living.place - 1 as place`,
    [
      seen.map(({ report }) => report.host),
      seen.map(({ digest }) => digest),
      workers.map((worker) => worker?.worker_id ?? null),
      workers.map((worker) => worker?.sequence ?? null),
      workers.map((worker) => (worker === undefined ? null : placeOf(worker))),
    ],
  )
  return noted.map(({ place }) => (seen[place] as { report: HostReport }).report)
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
