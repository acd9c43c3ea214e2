import type { Database } from '../../database/database.ts'
import { retryTransaction } from '../../database/transactions.ts'
import { ComputeHostNotFound } from '../../errors.ts'
import { serviceStatus, tellOfService } from '../placement/service-status.ts'
import type { Told } from '../telling.ts'

/** What an operator decides about a host; what is left out stays as it is. */
export interface HostSettings {
  readonly disabled?: boolean | undefined
  /** Why it is disabled, for everybody who asks why it is not chosen; only together with it. */
  readonly disabled_reason?: string | undefined
  readonly forced_down?: boolean | undefined
  /** It is powered off, so nothing runs there: what evacuations still hold of it is given back. Implies forced down. */
  readonly fenced?: boolean | undefined
}

/**
 * Who is enabled by an operator begins anew: builds that failed there before do not count any more. Who disabled a host
 * is kept, so that a successful build never enables what an operator disabled.
 *
 * @returns how many evacuated instances it has given up the resources of, by being fenced
 * @throws ComputeHostNotFound
 */
export async function setHost(database: Database, host: string, settings: HostSettings, told?: Told): Promise<number> {
  const { disabled, disabled_reason, forced_down, fenced } = settings
  return retryTransaction(() =>
    database.transaction(async (tx) => {
      await tx.query('select from compute_hosts where host = $1 for no key update', [host])
      const before = await serviceStatus(tx, host)
      const [written] = await tx.query<{ fenced: boolean }>(
        `update compute_hosts set
           disabled = coalesce($2, disabled),
           disabled_by = case when $2 then 'operator' when not $2 then null else disabled_by end,
           disabled_reason = case when $2 then $3 when not $2 then null else disabled_reason end,
           failed_builds = case when not $2 then 0 else failed_builds end,
           forced_down = coalesce($5, false) or coalesce($4, forced_down),
           fenced = coalesce($5, fenced and coalesce($4, true))
         where host = $1 returning fenced`,
        [host, disabled ?? null, disabled_reason ?? null, forced_down ?? null, fenced ?? null],
      )
      if (written === undefined) throw hostNotFound(host)
      await tellOfService(tx, told, 'service.update', host, before)
      if (!written.fenced) return 0
      const [freed] = await tx.query<{ count: number }>('select free_fenced($1) as count', [host])
      return freed?.count ?? 0
    }),
  )
}

export function hostNotFound(host: string): ComputeHostNotFound {
  return new ComputeHostNotFound(`no host ${host} has reported`, {
    host,
    fix: 'see their names with: sevbus hosts',
  })
}
