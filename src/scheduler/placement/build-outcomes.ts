import { plainArray, textArray } from '../../database/array-literal.ts'
import type { Queryable } from '../../database/database.ts'
import { kept } from '../../database/kept-statement.ts'
import { PLANS } from './claim-group-schema.ts'

/** A try that has ended on its host. */
export interface Build {
  readonly instance_uuid: string
  readonly attempt: number
  readonly host: string
}

/** The last try of a consumer whose outcome was counted: told twice, it is counted once. */
export const BUILD_OUTCOMES = `
  alter table consumers add column counted_attempt integer not null default 0;
`

const HAS_FAILURES = "(h.failed_builds > 0 or (h.disabled and h.disabled_by = 'build failures'))"

/** `countSuccessesAtRest`, whose plan is kept: of JSON the planner expects so many rows that it reads all consumers. */
export const SUCCESSES_AT_REST = `
  create function count_successes_at_rest(uuids uuid[], attempts integer[], hosts text[]) returns boolean
  language plpgsql ${PLANS} set enable_bitmapscan = off as $$
  begin
    if exists (select from compute_hosts h where h.host = any(hosts) and ${HAS_FAILURES}) then return false; end if;
    update consumers c set counted_attempt = told.attempt from unnest(uuids, attempts) as told (uuid, attempt)
     where c.uuid = told.uuid and c.counted_attempt < told.attempt;
    return true;
  end $$;
`

const COUNT_AT_REST = kept('select count_successes_at_rest($1, $2, $3) as is_counted')

/**
 * Counts a build that failed in a row on a host, and takes one out of service that fails too often: else it stays the
 * emptiest and draws every guest.
 *
 * @param disableAfter Nova's consecutive_build_service_disable_threshold; 0: never
 * @returns undefined: it was counted before, or the host is not known
 */
export async function countFailure(
  tx: Queryable,
  { instance_uuid, attempt, host }: Build,
  failure: string,
  disableAfter: number,
): Promise<{ readonly failedBuilds: number; readonly isDisabled: boolean } | undefined> {
  const [counted] = await tx.query<{ failed_builds: number; disables: boolean }>(
    `with counted as (
       update consumers set counted_attempt = $2 where uuid = $1 and counted_attempt < $2 returning uuid),
     next as (
       select h.host, h.failed_builds + 1 as failed_builds,
              not h.disabled and $5::integer > 0 and h.failed_builds + 1 >= $5 as disables
         from compute_hosts h, counted where h.host = $3 for no key update of h)
     update compute_hosts h set
       failed_builds = next.failed_builds,
       disabled = h.disabled or next.disables,
       disabled_by = case when next.disables then 'build failures' else h.disabled_by end,
       disabled_reason = case
         when next.disables then format('%s builds in a row failed here, the last one: %s', next.failed_builds, $4::text)
         else h.disabled_reason end
      from next where h.host = next.host
     returning h.failed_builds, next.disables`,
    [instance_uuid, attempt, host, failure, disableAfter],
  )
  return counted && { failedBuilds: counted.failed_builds, isDisabled: counted.disables }
}

/**
 * Counts builds that succeeded, all in one statement, which is its own transaction: many ends of boots, one commit. It does so where
 * none of their hosts has failures to forget, nor was disabled by them, as nearly always.
 *
 * @returns false: one has, and nothing is counted
 */
export async function countSuccessesAtRest(database: Queryable, builds: readonly Build[]): Promise<boolean> {
  const [row] = await database.query<{ is_counted: boolean }>(COUNT_AT_REST, [
    plainArray(builds.map(({ instance_uuid }) => instance_uuid)),
    plainArray(builds.map(({ attempt }) => attempt)),
    textArray(builds.map(({ host }) => host)),
  ])
  return row?.is_counted ?? false
}

/**
 * Counts builds that succeeded. A success begins the count of failures
 * anew, and gives back what they took; who was disabled by an operator stays so.
 *
 * @returns hosts that are in service again by it
 */
export async function countSuccesses(database: Queryable, builds: readonly Build[]): Promise<readonly string[]> {
  const rows = await database.query<{ host: string; enables: boolean }>(
    `with told as (select * from jsonb_to_recordset($1::jsonb) as t (instance_uuid uuid, attempt integer, host text)),
     counted as (
       update consumers c set counted_attempt = told.attempt
         from told where c.uuid = told.instance_uuid and c.counted_attempt < told.attempt
       returning told.host),
     next as (
       select h.host, h.disabled and h.disabled_by = 'build failures' as enables
         from compute_hosts h
        where h.host in (select host from counted) and ${HAS_FAILURES}
        order by h.host for no key update of h)
     update compute_hosts h set
       failed_builds = 0,
       disabled = h.disabled and not next.enables,
       disabled_by = case when next.enables then null else h.disabled_by end,
       disabled_reason = case when next.enables then null else h.disabled_reason end
      from next where h.host = next.host
     returning h.host, next.enables`,
    [JSON.stringify(builds)],
  )
  return rows.filter(({ enables }) => enables).map(({ host }) => host)
}
