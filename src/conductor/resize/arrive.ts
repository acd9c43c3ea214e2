import type { Queryable } from '../../database/database.ts'
import { errorOf, type Fault } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import { endAttempt } from '../attempt-store.ts'
import { buildFails } from '../host-events.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { noteBuildMessage } from '../messages.ts'
import { endMove, type MoveRecord, noteArrival } from '../migration-store.ts'
import { goBack, startAsBefore } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'

/** It is at its destination, and what it left is kept, until somebody decides. */
export async function arriveResized(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  launched_at: string,
): Promise<void> {
  const at = ports.now()
  const { uuid, attempt } = instance
  const host = instance.host as string
  const changes = { vm_state: 'resized', task_state: null, launched_at, fault: null } as const
  const resized = await changeInstance(ports, tx, { instance, context }, changes, at)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'active', reason: null }, at)
  await noteArrival(tx, move.uuid, host, launched_at, at)
  await endMove(tx, move.uuid, 'finished', at)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host).message('instance.resize_finish.end', context, resized),
    noteBuildMessage(ports, context, resized, host, null),
  ])
}

/** So much of the words goes into the reason why a host is disabled. */
const MAX_FAILURE = 300

/** The destination could not build it, and has nothing of it: it is what it was, where it was. */
export async function destinationFailed(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  { fault, retryable }: { readonly fault: Fault; readonly retryable: boolean },
): Promise<void> {
  const { instance, context } = record
  const { uuid, attempt, host } = instance
  const reason = `${fault.code}: ${fault.message}`.slice(0, 4000)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason }, ports.now())
  const error = errorOf(fault)
  await ports.outbox.enqueue(tx, buildFails(ports, context, instance, fault, error))
  if (retryable) {
    const failure = reason.slice(0, MAX_FAILURE)
    await ports.outbox.enqueue(tx, [noteBuildMessage(ports, context, instance, host as string, failure)])
  }
  await returnToSource(ports, tx, record, move, fault)
}

/**
 * Nothing of it is at the destination. It is the source's again, which starts the guest there as it was.
 *
 * @param fault why; null: somebody wanted it
 */
export async function returnToSource(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  fault: Fault | null,
): Promise<Instance> {
  const back = await goBack(ports, tx, record, move, fault, fault === null ? 'reverted' : 'failed')
  return startAsBefore(ports, tx, move.context, back, 'resize')
}
