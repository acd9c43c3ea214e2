import { BuildInterrupted } from '../errors.ts'
import { tryFailed } from './build-report.ts'
import { lockInstance } from './instance-store.ts'
import { continueBuildMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'

/** How many overdue builds are looked at in one round. */
const BATCH = 100

/**
 * Gives up builds that nobody has been heard of for the build timeout: on a host, they are tried elsewhere; without
 * one, they are started again. So no instance stays in BUILDING, even when its host is gone for good.
 */
export async function reviveOverdueBuilds(ports: ConductorPorts): Promise<number> {
  const overdue = new Date(ports.now().getTime() - ports.buildTimeoutMs)
  const rows = await ports.database.query<{ uuid: string }>(
    `SELECT uuid FROM instances WHERE vm_state = 'building' AND task_state <> 'deleting' AND updated_at < $1
     ORDER BY updated_at LIMIT $2`,
    [overdue, BATCH],
  )
  for (const { uuid } of rows) await revive(ports, uuid, overdue)
  if (rows.length > 0) ports.outbox.announce()
  return rows.length
}

async function revive(ports: ConductorPorts, uuid: string, overdue: Date): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, uuid)
    const waits = instance.vm_state === 'building' && instance.task_state !== 'deleting'
    if (!waits || new Date(instance.updated_at) >= overdue) return
    ports.logger.warn({ instance_uuid: uuid, host: instance.host, attempt: instance.attempt }, 'build is overdue')
    if (instance.host === null) {
      await tx.query('UPDATE instances SET updated_at = $2 WHERE uuid = $1', [uuid, ports.now()])
      return ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, instance)])
    }
    const silent = new BuildInterrupted(
      `host ${instance.host} has not reported the build within ${ports.buildTimeoutMs / 1000} s`,
      { host: instance.host },
    )
    const fault = {
      code: silent.code,
      message: silent.message,
      details: { ...silent.details },
      created_at: ports.now().toISOString(),
    }
    await tryFailed(ports, tx, context, instance, { fault, retryable: true })
  })
}
