import { newRequestContext } from '../rpc/request-context.ts'
import { endDeletion } from './delete-instance.ts'
import { lockInstance } from './instance-store.ts'
import type { ConductorPorts } from './ports.ts'
import { endOffload } from './shelve/offload.ts'

/** Younger deletions are left to their hosts, in milliseconds. */
const PATIENCE_MS = 5000
/** As many hosts as are asked about, and instances as are ended, in one round. */
const MAX_HOSTS = 100
const MAX_INSTANCES = 500

/**
 * Ends deletions, and the offloading of shelved instances, that wait for a host which is fenced: nothing runs there, so nobody has to be waited for. Should it come back, what
 * it was told is still in its queue, and `sevbus audit` sees a guest that was forgotten.
 *
 * @returns how many
 */
export async function endFencedDeletions(ports: ConductorPorts): Promise<number> {
  const before = new Date(ports.now().getTime() - PATIENCE_MS)
  const waiting = await ports.database.query<{ host: string }>(
    `SELECT DISTINCT host FROM instances
     WHERE task_state IN ('deleting', 'shelving_offloading') AND host IS NOT NULL AND updated_at < $1 LIMIT $2`,
    [before, MAX_HOSTS],
  )
  if (waiting.length === 0) return 0
  const { hosts } = await ports.scheduler.listHosts(newRequestContext(), { hosts: waiting.map(({ host }) => host) })
  const fenced = hosts.filter((host) => host.fenced).map(({ host }) => host)
  if (fenced.length === 0) return 0
  const rows = await ports.database.query<{ uuid: string }>(
    `SELECT uuid FROM instances WHERE task_state IN ('deleting', 'shelving_offloading') AND host = ANY($1) LIMIT $2`,
    [fenced, MAX_INSTANCES],
  )
  for (const { uuid } of rows) await end(ports, uuid, fenced)
  ports.outbox.announce()
  return rows.length
}

async function end(ports: ConductorPorts, uuid: string, fenced: readonly string[]): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    const { instance, context } = record
    const { host } = instance
    const isOffloading = instance.task_state === 'shelving_offloading'
    if ((instance.task_state !== 'deleting' && !isOffloading) || host === null || !fenced.includes(host)) return
    const facts = { instance_uuid: uuid, host, request_id: context.request_id }
    ports.logger.info(facts, `instance ${uuid} is ${isOffloading ? 'offloaded' : 'deleted'}: its host is fenced`)
    if (isOffloading) return endOffload(ports, tx, record, host)
    await endDeletion(ports, tx, context, record, host, ports.now().toISOString())
  })
}
