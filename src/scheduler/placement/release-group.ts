import type { Database } from '../../database/database.ts'
import { kept } from '../../database/kept-statement.ts'
import { retryTransaction } from '../../database/transactions.ts'
import type { Try } from './claim.ts'

const RELEASE = kept('select release_group($1) as hosts')

/**
 * Gives back what tries up to these have claimed, and voids all of them: a request of theirs that arrives late can
 * claim nothing. Doing it twice is nothing.
 *
 * @returns for each the host that has its resources back; undefined when there was nothing to give
 */
export async function releaseGroup(
  database: Database,
  releases: readonly Try[],
): Promise<readonly (string | undefined)[]> {
  const [row] = await retryTransaction(() =>
    database.query<{ hosts: Record<string, string> }>(RELEASE, [
      JSON.stringify(releases.map(({ instance_uuid, attempt }) => ({ uuid: instance_uuid, attempt }))),
    ]),
  )
  return releases.map(({ instance_uuid }) => row?.hosts[instance_uuid])
}
