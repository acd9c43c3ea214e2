import type { Queryable } from '../database/database.ts'
import { BuildInterrupted } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { tryFailed } from './build-report.ts'
import { lockInstance } from './instance-store.ts'
import { continueBuildMessage, terminateMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'

/** How many overdue instances are looked at in one round. */
const BATCH = 100

/**
 * Revives what nobody has been heard of for the build timeout: a build on a host is tried elsewhere, one without a host
 * is started again, a deletion is asked for again. So nothing waits for a message that was lost, nor for a host that is
 * gone for good.
 *
 * @returns how many were overdue
 */
export async function reviveOverdue(ports: ConductorPorts): Promise<number> {
  const overdue = new Date(ports.now().getTime() - ports.buildTimeoutMs)
  const rows = await ports.database.query<{ uuid: string }>(
    `SELECT uuid FROM instances
     WHERE (vm_state = 'building' OR task_state = 'deleting') AND vm_state <> 'deleted' AND updated_at < $1
     ORDER BY updated_at LIMIT $2`,
    [overdue, BATCH],
  )
  for (const { uuid } of rows) {
    // One that cannot be revived must not keep the others waiting.
    await revive(ports, uuid, overdue).catch((err: unknown) => {
      ports.logger.error({ instance_uuid: uuid, err }, 'overdue, and cannot be revived now')
    })
  }
  if (rows.length > 0) ports.outbox.announce()
  return rows.length
}

async function revive(ports: ConductorPorts, uuid: string, overdue: Date): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, uuid)
    const waits = instance.vm_state === 'building' || instance.task_state === 'deleting'
    if (!waits || new Date(instance.updated_at) >= overdue) return
    const facts = {
      instance_uuid: uuid,
      host: instance.host,
      attempt: instance.attempt,
      task_state: instance.task_state,
      request_id: context.request_id,
    }
    ports.logger.warn(facts, 'overdue: nothing was heard of it for the build timeout')
    await tx.query('UPDATE instances SET updated_at = $2 WHERE uuid = $1', [uuid, ports.now()])
    if (instance.host === null) await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, instance)])
    else if (instance.task_state === 'deleting')
      await ports.outbox.enqueue(tx, [terminateMessage(ports, context, instance.host, instance)])
    else await tryElsewhere(ports, tx, context, instance, instance.host)
  })
}

async function tryElsewhere(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  host: string,
) {
  const silent = new BuildInterrupted(
    `host ${host} has not reported the build within ${ports.buildTimeoutMs / 1000} s`,
    {
      host,
    },
  )
  await tryFailed(ports, tx, context, instance, { fault: faultOf(silent, ports.now().toISOString()), retryable: true })
  // Right behind the build, if that still waits for the host: it finds its try void before it has begun.
  await ports.outbox.enqueue(tx, [terminateMessage(ports, context, host, instance, true)])
}
