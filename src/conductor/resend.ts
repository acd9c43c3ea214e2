import type { Queryable } from '../database/database.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { actionMessage } from './actions/messages.ts'
import { allocationsOf } from './attempt-store.ts'
import { type InstanceRecord, lockInstance } from './instance-store.ts'
import { buildMessage, continueBuildMessage, departureMessage, terminateMessage } from './messages.ts'
import { allDepartures } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { userDataOf } from './user-data-store.ts'
import { askAgain } from './watchdog.ts'

/**
 * Says again what every unfinished instance waits for: for a broker that was made anew and has lost what it had
 * confirmed. Nothing happens twice by it, since receivers tell a repeat by the try.
 */
export async function resendUnfinished(ports: ConductorPorts): Promise<void> {
  const rows = await ports.database.query<{ uuid: string }>(
    'SELECT uuid FROM instances WHERE task_state IS NOT NULL ORDER BY position',
  )
  for (const { uuid } of rows) await ports.database.transaction((tx) => resend(ports, tx, uuid))
  for (const move of await allDepartures(ports.database)) {
    await ports.database.transaction((tx) => askAgain(ports, tx, move))
  }
  ports.outbox.announce()
}

async function resend(ports: ConductorPorts, tx: Queryable, uuid: string): Promise<void> {
  await ports.outbox.enqueue(tx, await waitedFor(ports, tx, await lockInstance(tx, uuid)))
}

async function waitedFor(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
): Promise<readonly DurableMessage[]> {
  const { instance, context, move, action } = record
  const { uuid, attempt, task_state: task, host } = instance
  if (task === null) return []
  if (host === null) return [continueBuildMessage(ports, context, instance)]
  if (task === 'deleting') return [terminateMessage(ports, context, host, instance)]
  if (action !== undefined) return [actionMessage(ports, instance, action)]
  if (move !== undefined && move.arrived_at !== null) {
    return [departureMessage(ports, instance, move), continueBuildMessage(ports, context, instance)]
  }
  const allocations = await allocationsOf(tx, { uuid, attempt })
  return [buildMessage(ports, context, host, instance, allocations, await userDataOf(tx, record))]
}
