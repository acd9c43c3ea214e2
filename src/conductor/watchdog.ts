import type { Queryable } from '../database/database.ts'
import { BuildInterrupted } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import { tryFailed } from './build-report.ts'
import { type InstanceRecord, lockInstance } from './instance-store.ts'
import { departureMessage, terminateMessage } from './messages.ts'
import { findMove, noteAsked, unansweredMoves } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { giveUpDestination, settleResize } from './resize/decide.ts'
import { isOnItsHost, RESIZE } from './stages.ts'
import { waitedFor } from './waited-for.ts'

/** How many overdue instances are looked at in one round. */
const BATCH = 100

/**
 * Revives what nobody has been heard of for the build timeout: a build on a host is tried elsewhere, one without a host
 * is started again, a deletion or another action is asked for again, and so is the removal of a guest that an instance has
 * left. So nothing waits for a message that was lost, nor a build for a host that is gone for good.
 *
 * @returns how many were overdue
 */
export async function reviveOverdue(ports: ConductorPorts): Promise<number> {
  const overdue = new Date(ports.now().getTime() - ports.buildTimeoutMs)
  const rows = await ports.database.query<{ uuid: string }>(
    `SELECT uuid FROM instances
     WHERE task_state IS NOT NULL AND updated_at < $1
     ORDER BY updated_at LIMIT $2`,
    [overdue, BATCH],
  )
  for (const { uuid } of rows) {
    // One that cannot be revived must not keep the others waiting.
    await revive(ports, uuid, overdue).catch((err: unknown) => {
      ports.logger.error({ instance_uuid: uuid, err }, 'overdue, and cannot be revived now')
    })
  }
  const left = await unansweredMoves(ports.database, ports.now(), ports.buildTimeoutMs, BATCH)
  for (const move of left) await ports.database.transaction((tx) => askAgain(ports, tx, move))
  if (rows.length + left.length > 0) ports.outbox.announce()
  return rows.length + left.length
}

async function revive(ports: ConductorPorts, uuid: string, overdue: Date): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    const { instance, context, move } = record
    if (instance.task_state === null || new Date(instance.updated_at) >= overdue) return
    const facts = {
      instance_uuid: uuid,
      host: instance.host,
      attempt: instance.attempt,
      task_state: instance.task_state,
      request_id: context.request_id,
    }
    ports.logger.warn(facts, 'overdue: nothing was heard of it for the build timeout')
    await tx.query('UPDATE instances SET updated_at = $2 WHERE uuid = $1', [uuid, ports.now()])
    if (move?.status === 'confirming') await settleResize(ports, tx, record, move, 'left behind')
    else if (instance.host === null || !isBuildOverdue(record)) {
      await ports.outbox.enqueue(tx, await waitedFor(ports, tx, record))
    } else if (move !== undefined && instance.task_state === RESIZE.onHost) {
      await giveUpDestination(ports, tx, record, move)
    } else await tryElsewhere(ports, tx, record, instance.host)
  })
}

/**
 * A host was told to build it, and has not said how that ended. A rebuild is its host's, and is asked for again; so is one
 * that may have come there as it runs, until that host says so.
 */
function isBuildOverdue({ instance, move }: InstanceRecord): boolean {
  const isItsHosts = move?.type === 'rebuild' || move?.type === 'live-migration'
  return isOnItsHost(instance) && !move?.arrived_at && !isItsHosts
}

/** Asks the host again to remove the guest of an instance that lives elsewhere. */
export async function askAgain(
  ports: ConductorPorts,
  tx: Queryable,
  asked: { readonly uuid: string; readonly instance_uuid: string },
): Promise<void> {
  const { instance } = await lockInstance(tx, asked.instance_uuid)
  const move = await findMove(tx, asked.uuid)
  if (move?.status !== 'done') return
  await noteAsked(tx, move.uuid, ports.now())
  await ports.outbox.enqueue(tx, [departureMessage(ports, instance, move)])
}

async function tryElsewhere(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, host: string) {
  const { instance, context } = record
  const silent = new BuildInterrupted(
    `host ${host} has not reported the build within ${ports.buildTimeoutMs / 1000} s`,
    {
      host,
    },
  )
  await tryFailed(ports, tx, record, { fault: faultOf(silent, ports.now().toISOString()), retryable: true })
  // Right behind the build, if that still waits for the host: it finds its try void before it has begun.
  await ports.outbox.enqueue(tx, [terminateMessage(ports, context, host, instance, true)])
}
