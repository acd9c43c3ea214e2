import type { Queryable } from '../../database/database.ts'

/** How one try ended on its host, as the conductor tells it. */
export interface BuildOutcome {
  readonly instance_uuid: string
  readonly attempt: number
  readonly host: string
  /** Null: the guest runs. */
  readonly failure: string | null
}

/** What a host has become by it; undefined: it was counted before, or the host is not known. */
export interface CountedBuild {
  readonly failedBuilds: number
  readonly change: 'disabled' | 'enabled' | 'none'
}

/** The last try of a consumer whose outcome was counted: told twice, it is counted once. */
export const BUILD_OUTCOMES = `
  alter table consumers add column counted_attempt integer not null default 0;
`

/**
 * Counts builds that failed in a row on a host, and takes one out of service that fails too often: else it stays the
 * emptiest and draws every guest. A success begins anew, and gives back what failures took; who was disabled by an
 * operator stays so.
 *
 * @param disableAfter Nova's consecutive_build_service_disable_threshold; 0: never
 */
export async function countBuild(
  database: Queryable,
  { instance_uuid, attempt, host, failure }: BuildOutcome,
  disableAfter: number,
): Promise<CountedBuild | undefined> {
  const [written] = await database.query<{ failed_builds: number; is: boolean; was: boolean }>(
    `with counted as (
       update consumers set counted_attempt = $2 where uuid = $1 and counted_attempt < $2 returning uuid),
     old as (
       select h.host, h.disabled, h.disabled_by, h.disabled_reason,
              case when $4::text is null then 0 else h.failed_builds + 1 end as failed_builds
         from compute_hosts h, counted where h.host = $3 for no key update of h),
     next as (
       select old.host, old.failed_builds, old.disabled as was,
              $4::text is not null and not old.disabled and $5::integer > 0 and old.failed_builds >= $5 as disables,
              $4::text is null and old.disabled and old.disabled_by = 'build failures' as enables
         from old)
     update compute_hosts h set
       failed_builds = next.failed_builds,
       disabled = (h.disabled or next.disables) and not next.enables,
       disabled_by = case when next.disables then 'build failures' when next.enables then null else h.disabled_by end,
       disabled_reason = case
         when next.disables then format('%s builds in a row failed here, the last one: %s', next.failed_builds, $4::text)
         when next.enables then null
         else h.disabled_reason end
      from next where h.host = next.host and (h.failed_builds, next.disables or next.enables) <> (next.failed_builds, false)
     returning h.failed_builds, h.disabled as is, next.was`,
    [instance_uuid, attempt, host, failure, disableAfter],
  )
  if (written === undefined) return undefined
  const { failed_builds: failedBuilds, is, was } = written
  return { failedBuilds, change: is === was ? 'none' : is ? 'disabled' : 'enabled' }
}
