import type { Queryable } from '../database/database.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { actionMessage } from './actions/messages.ts'
import { allocationsOf } from './attempt-store.ts'
import type { InstanceRecord } from './instance-store.ts'
import { isToSayIfItCame } from './live-migration/fenced-destination.ts'
import { orderMessages } from './live-migration/orders.ts'
import {
  asLeft,
  buildMessage,
  continueBuildMessage,
  departureMessage,
  finishResizeMessage,
  postLiveMessage,
  rebuildMessage,
  terminateMessage,
} from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { returnMessages } from './resize/decide.ts'
import { asUnshelved } from './shelve/unshelve.ts'
import { isWaitingForHost, LIVE, RESIZE } from './stages.ts'
import { userDataOf } from './user-data-store.ts'

/** What an unfinished instance waits for: to be said again when it may have been lost. */
export async function waitedFor(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
): Promise<readonly DurableMessage[]> {
  const { instance, context, move, action } = record
  const { task_state: task, host, attempt } = instance
  if (task === null) return []
  if (host === null || isWaitingForHost(instance, attempt)) return [continueBuildMessage(ports, context, instance)]
  if (task === 'deleting' || task === 'shelving_offloading') return [terminateMessage(ports, context, host, instance)]
  if (action !== undefined) {
    const there = move ? asLeft(instance, move) : instance
    return [actionMessage(ports, there, action), ...orderMessages(ports, there, action)]
  }
  if (move?.status === 'confirming') return [departureMessage(ports, instance, move)]
  if (move?.status === 'reverting') return returnMessages(ports, instance, move)
  if (move !== undefined && move.arrived_at !== null) {
    return [departureMessage(ports, instance, move), continueBuildMessage(ports, context, instance)]
  }
  const again = await buildAgain(ports, tx, record, host)
  return isToSayIfItCame(record) ? [again, continueBuildMessage(ports, context, instance)] : [again]
}

async function buildAgain(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, host: string) {
  const { instance, context, move } = record
  const allocations = await allocationsOf(tx, { uuid: instance.uuid, attempt: instance.attempt })
  const userData = await userDataOf(tx, record)
  if (move?.type === 'rebuild') return rebuildMessage(ports, instance, move, allocations, userData)
  if (move !== undefined && instance.task_state === LIVE.onHost) return postLiveMessage(ports, instance, move)
  return move !== undefined && instance.task_state === RESIZE.onHost
    ? finishResizeMessage(ports, instance, move, allocations, userData)
    : buildMessage(ports, context, host, asUnshelved(instance, record.shelving), allocations, userData)
}
