import type { Queryable } from '../database/database.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { allocationsOf } from './attempt-store.ts'
import { type InstanceRecord, lockInstance } from './instance-store.ts'
import { buildMessage, continueBuildMessage, terminateMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'

/**
 * Says again what every unfinished instance waits for: for a broker that was made anew and has lost what it had
 * confirmed. Nothing happens twice by it, since receivers tell a repeat by the try.
 */
export async function resendUnfinished(ports: ConductorPorts): Promise<void> {
  const rows = await ports.database.query<{ uuid: string }>(
    `SELECT uuid FROM instances WHERE vm_state <> 'deleted' AND (vm_state = 'building' OR task_state = 'deleting')
     ORDER BY position`,
  )
  for (const { uuid } of rows) await ports.database.transaction((tx) => resend(ports, tx, uuid))
  ports.outbox.announce()
}

async function resend(ports: ConductorPorts, tx: Queryable, uuid: string): Promise<void> {
  const message = await waitedFor(ports, tx, await lockInstance(tx, uuid))
  if (message !== undefined) await ports.outbox.enqueue(tx, [message])
}

async function waitedFor(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
): Promise<DurableMessage | undefined> {
  const { uuid, attempt, task_state: task, host, vm_state: state } = instance
  if (task === 'deleting' && host !== null) return terminateMessage(ports, context, host, instance)
  if (state !== 'building') return undefined
  if (host === null) return continueBuildMessage(ports, context, instance)
  return buildMessage(ports, context, host, instance, await allocationsOf(tx, { uuid, attempt }))
}
