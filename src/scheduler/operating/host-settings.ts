import type { Queryable } from '../../database/database.ts'
import { ComputeHostNotFound } from '../../errors.ts'

/** What an operator decides about a host; what is left out stays as it is. */
export interface HostSettings {
  readonly disabled?: boolean | undefined
  /** Why it is disabled, for everybody who asks why it is not chosen; only together with it. */
  readonly disabled_reason?: string | undefined
  readonly forced_down?: boolean | undefined
}

/**
 * Who is enabled by an operator begins anew: builds that failed there before do not count any more. Who disabled a host
 * is kept, so that a successful build never enables what an operator disabled.
 *
 * @throws ComputeHostNotFound
 */
export async function setHost(database: Queryable, host: string, settings: HostSettings): Promise<void> {
  const { disabled, disabled_reason, forced_down } = settings
  const [written] = await database.query(
    `update compute_hosts set
       disabled = coalesce($2, disabled),
       disabled_by = case when $2 then 'operator' when not $2 then null else disabled_by end,
       disabled_reason = case when $2 then $3 when not $2 then null else disabled_reason end,
       failed_builds = case when not $2 then 0 else failed_builds end,
       forced_down = coalesce($4, forced_down)
     where host = $1 returning host`,
    [host, disabled ?? null, disabled_reason ?? null, forced_down ?? null],
  )
  if (written === undefined) throw hostNotFound(host)
}

export function hostNotFound(host: string): ComputeHostNotFound {
  return new ComputeHostNotFound(`no host ${host} has reported`, {
    host,
    fix: 'see their names with: sevbus hosts',
  })
}
