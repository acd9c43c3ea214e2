import type { Queryable } from '../../database/database.ts'
import type { Instance } from '../../objects/instance.ts'
import { endAction } from '../actions/action-store.ts'
import { endAttempt } from '../attempt-store.ts'
import type { InstanceRecord } from '../instance-store.ts'
import { asArriving } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import { goBack } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'
import { settleResize } from './decide.ts'

/** Until the source has let go, the instance is there, and nothing of it is at the destination. */
export function isStillAtSource({ instance }: InstanceRecord): boolean {
  return instance.task_state === 'resize_prep' || instance.task_state === 'resize_migrating'
}

/**
 * For what takes the place of a move: the instance is where it is now, and what it has at the other end goes, and is free
 * when that is gone.
 *
 * @param reason of the try that is over
 */
export async function callOffResize(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  reason: string,
): Promise<Instance> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  const at = ports.now()
  if (!isStillAtSource(record)) return settleResize(ports, tx, record, move, 'left behind')
  await endAction(tx, uuid, 'given up', null, at)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'aborted', reason }, at)
  // What was claimed where it was to go was told when the source began to let go.
  const there = instance.task_state === 'resize_migrating' ? asArriving(instance, move) : undefined
  if (there) await ports.outbox.enqueue(tx, [...ports.events.slot('slot.released', context, there)])
  return goBack(ports, tx, record, move, null)
}
