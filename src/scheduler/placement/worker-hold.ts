import type { Queryable } from '../../database/database.ts'
import { DuplicateHost, InvalidInventory, StaleReport } from '../../errors.ts'
import { type ReportingWorker, SEQUENCES_PER_START, type UnchangedHost } from '../../objects/host-report.ts'

/** A worker that was started so often since its last report, each time without getting one through, is not believed. */
const MAX_STARTS_AHEAD = 1000

/**
 * `taken`: of the worker that reports this host, or of the one that follows it.
 * `older`: of that worker, but not newer than what is known. `ahead`: further ahead than it can be.
 * `stranger`: another worker reports this host, and lives.
 */
export type Verdict = 'taken' | 'older' | 'ahead' | 'stranger'

/**
 * SQL for the verdict on a report, from a row `h` of compute_hosts. A worker is followed by any other when it said
 * goodbye, or when the schedulers hold the host for dead: they watch by clocks of their own, and only while they can see
 * (`hosts/liveness.ts`), so neither a clock that jumps nor an outage hands a host from one to the other. A worker of an
 * earlier release has no id, and is taken unless the host has one that has.
 */
export function verdictSql(workerId: string, sequence: string): string {
  return `case
    when h.worker_id is null or h.down_since is not null then 'taken'
    when h.worker_id = ${workerId} and ${sequence} <= h.report_sequence then 'older'
    when h.worker_id = ${workerId} and ${sequence} > h.report_sequence + ${MAX_STARTS_AHEAD * SEQUENCES_PER_START} then 'ahead'
    when h.worker_id = ${workerId} or h.worker_left then 'taken'
    else 'stranger' end`
}

/** Who says something of which host. */
interface Speaker {
  readonly host: string
  readonly worker?: ReportingWorker | undefined
}

export interface HostHolder {
  readonly worker_id: string | null
  readonly worker_place: string | null
  readonly report_sequence: number | null
  readonly report_digest: string
  readonly report_interval_seconds: number
  readonly verdict: Verdict
}

/** Locks the host's row, if there is one: two reports of one host are written one after the other. */
export async function lockHolder(tx: Queryable, { host, worker }: Speaker): Promise<HostHolder | undefined> {
  const [holder] = await tx.query<HostHolder>(
    `select worker_id, worker_place, report_sequence, report_digest, report_interval_seconds,
            ${verdictSql('$2::text', '$3::bigint')} as verdict
       from compute_hosts h where host = $1 for no key update`,
    [host, worker?.worker_id ?? null, worker?.sequence ?? null],
  )
  return holder
}

/** @throws DuplicateHost, StaleReport, InvalidInventory */
export function refuseUnlessTaken({ host, worker }: Speaker, holder: HostHolder): void {
  const { verdict } = holder
  const at = { host, worker: placeOf(worker), holder: holder.worker_place ?? 'a worker of an earlier release' }
  const known = { sequence: worker?.sequence, known_sequence: Number(holder.report_sequence) }
  switch (verdict) {
    case 'taken':
      return
    case 'older': {
      const text = `the report of ${host} was dropped: its number is ${known.sequence}, and ${known.known_sequence} is known of ${at.holder}`
      throw new StaleReport(text, { ...at, ...known })
    }
    case 'ahead': {
      const fix = 'restore worker.json in the state folder, or remove it and start the worker again'
      const text = `worker.sequence is ${known.sequence}, far ahead of ${known.known_sequence}, which is known`
      const details = { ...at, ...known, field: 'worker.sequence', fix }
      throw new InvalidInventory(`the report of ${host} was not taken: ${text}; ${fix}`, details)
    }
    case 'stranger': {
      const fix = `give each of them a host name of its own (compute.host), or stop one; when the first has left, or counts as down, the other is taken by itself`
      const text = `two workers say that they are host ${host}: ${at.holder}, which is taken, and ${at.worker}, which is not`
      throw new DuplicateHost(`${text}; ${fix}`, {
        ...at,
        worker_id: worker?.worker_id,
        holder_id: holder.worker_id,
        fix,
      })
    }
    default:
      verdict satisfies never
  }
}

/**
 * Why a sign of life was not noted. Nothing of a host that is not known: its next report tells all of it.
 *
 * @throws DuplicateHost, StaleReport, InvalidInventory
 */
export async function refuseUnchanged(database: Queryable, unchanged: UnchangedHost): Promise<void> {
  const holder = await lockHolder(database, unchanged)
  if (holder !== undefined) refuseUnlessTaken(unchanged, holder)
}

/** For words. */
export function placeOf(worker: ReportingWorker | undefined): string {
  return worker === undefined ? 'a worker of an earlier release' : `process ${worker.pid} on machine ${worker.machine}`
}

/** Where the workers are whose reports are taken, by host. */
export async function workersOf(database: Queryable, hosts: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const rows = await database.query<{ host: string; worker_place: string }>(
    'select host, worker_place from compute_hosts where host = any($1) and worker_place is not null and not worker_left',
    [[...hosts]],
  )
  return new Map(rows.map(({ host, worker_place }) => [host, worker_place]))
}

export interface WorkerLeft {
  readonly host: string
  readonly worker_id: string
  /** Of its goodbye, which counts like a report. */
  readonly sequence: number
}

/** The worker of the host stops: whoever comes next is taken at once. What it told before and comes late is older. */
export async function noteLeft(database: Queryable, { host, worker_id, sequence }: WorkerLeft): Promise<boolean> {
  const left = await database.query(
    `update compute_hosts h set worker_left = true, report_sequence = $3
      where host = $1 and worker_id = $2 and $3::bigint > report_sequence returning host`,
    [host, worker_id, sequence],
  )
  return left.length > 0
}
