import type { Queryable } from '../../database/database.ts'
import { ERRORS_BY_CODE, InternalError } from '../../errors.ts'
import { cleanText } from '../../objects/text.ts'
import { endAttempt, leaveAttempt, MAX_FAILURE } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { endMoveMessage, noteBuildMessage } from '../messages.ts'
import { endMove, type MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import type { BuildReport } from '../rpc-api.ts'
import { earlierSlot, keepsSlot } from './begin-rebuild.ts'

type Outcome = BuildReport['outcome']

/**
 * Either way nothing of the earlier guest is left, and what that had beyond the new one is free. Where the new one could not
 * be built the instance is in ERROR, with its claim: it can be rebuilt again.
 */
export async function rebuildEnded(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  outcome: Outcome,
): Promise<void> {
  if (outcome.result === 'active') await rebuilt(ports, tx, record, move, outcome.launched_at)
  else await notRebuilt(ports, tx, record, move, outcome)
  const { instance, context } = record
  await ports.outbox.enqueue(tx, [
    ...(keepsSlot(instance, move) ? [] : earlierSlot(ports, context, instance, move)),
    endMoveMessage(ports, move, 'confirmMove'),
  ])
}

async function rebuilt(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  launched_at: string,
): Promise<void> {
  const at = ports.now()
  const { uuid, attempt } = instance
  const host = instance.host as string
  const vm_state = move.source_vm_state === 'stopped' ? 'stopped' : 'active'
  const changes = { vm_state, task_state: null, launched_at, fault: null } as const
  const resting = await changeInstance(ports, tx, { instance, context }, changes, at)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'active', reason: null }, at)
  await leaveAttempt(tx, { uuid, attempt: move.source_attempt }, 'rebuilt', `as try ${attempt}, from another image`)
  await endMove(tx, move.uuid, 'completed', at)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host).message('instance.rebuild.end', context, resting),
    noteBuildMessage(ports, context, resting, host, null),
  ])
}

async function notRebuilt(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  { fault, retryable }: Extract<Outcome, { result: 'failed' }>,
): Promise<void> {
  const at = ports.now()
  const { uuid, attempt } = instance
  const host = instance.host as string
  const reason = cleanText(`${fault.code}: ${fault.message}`, 4000)
  const failed = await changeInstance(
    ports,
    tx,
    { instance, context },
    { vm_state: 'error', task_state: null, fault },
    at,
  )
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason }, at)
  await leaveAttempt(tx, { uuid, attempt: move.source_attempt }, 'rebuilt', `as try ${attempt}, which failed`)
  await endMove(tx, move.uuid, 'failed', at)
  const error = new (ERRORS_BY_CODE.get(fault.code) ?? InternalError)(fault.message)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host).message('instance.rebuild.error', context, failed, error),
    // What no other host could do either is no fault of this one.
    ...(retryable ? [noteBuildMessage(ports, context, failed, host, reason.slice(0, MAX_FAILURE))] : []),
  ])
}
