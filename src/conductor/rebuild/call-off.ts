import type { Queryable } from '../../database/database.ts'
import type { Instance } from '../../objects/instance.ts'
import { endAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { endMove, type MoveRecord } from '../migration-store.ts'
import { goBack } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'
import { isOnItsHost } from '../stages.ts'
import { earlierSlot, keepsSlot } from './begin-rebuild.ts'

/**
 * For what takes the place of a rebuild. Before its host was told nothing has changed, and all is as it was. After that nobody
 * knows which guest is there: the instance is the new one, and what it had goes with what it has.
 *
 * @param reason of the try that is over
 */
export async function callOffRebuild(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  reason: string,
): Promise<Instance> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  const at = ports.now()
  await endAttempt(tx, { uuid, attempt }, { outcome: 'aborted', reason }, at)
  if (!isOnItsHost(instance)) return goBack(ports, tx, record, move, null)
  const resting = await changeInstance(ports, tx, { instance, context }, { task_state: null }, at)
  await endMove(tx, move.uuid, 'failed', at)
  if (!keepsSlot(instance, move)) await ports.outbox.enqueue(tx, [...earlierSlot(ports, context, instance, move)])
  return resting
}
