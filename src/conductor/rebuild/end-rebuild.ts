import type { Queryable } from '../../database/database.ts'
import { errorOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import { cleanText } from '../../objects/text.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { endAttempt, leaveAttempt, MAX_FAILURE } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { endMoveMessage, noteBuildMessage } from '../messages.ts'
import { endMove, type MoveRecord } from '../migration-store.ts'
import { goBack } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'
import type { BuildReport } from '../rpc-api.ts'
import { earlierSlot, keepsSlot } from './begin-rebuild.ts'

type Outcome = BuildReport['outcome']
type Failure = Extract<Outcome, { result: 'failed' }>

/**
 * Refused by its host before that has touched anything, it is what it was. Else nothing of the earlier guest is left, and what that
 * had beyond the new one is free; where the new one could not be built the instance is in ERROR, with its claim: it can be
 * rebuilt again.
 */
export async function rebuildEnded(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  outcome: Outcome,
): Promise<void> {
  if (outcome.result === 'failed' && outcome.unchanged) return refused(ports, tx, record, move, outcome)
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

/** Its earlier guest goes on, with what it has, and is charged for as before. */
async function refused(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  failure: Failure,
): Promise<void> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason: reasonOf(failure) }, ports.now())
  const back = await goBack(ports, tx, record, move, failure.fault)
  await ports.outbox.enqueue(tx, [
    // Nothing was built, so it counts for nothing on its host.
    failedEvent(ports, context, back, failure),
    ...ports.events.slot('slot.released', context, instance),
    ...(keepsSlot(instance, move) ? ports.events.slot('slot.claimed', context, back) : []),
  ])
}

async function notRebuilt(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  failure: Failure,
): Promise<void> {
  const at = ports.now()
  const { uuid, attempt } = instance
  const changes = { vm_state: 'error', task_state: null, fault: failure.fault } as const
  const failed = await changeInstance(ports, tx, { instance, context }, changes, at)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason: reasonOf(failure) }, at)
  await leaveAttempt(tx, { uuid, attempt: move.source_attempt }, 'rebuilt', `as try ${attempt}, which failed`)
  await endMove(tx, move.uuid, 'failed', at)
  const words = reasonOf(failure).slice(0, MAX_FAILURE)
  await ports.outbox.enqueue(tx, [
    failedEvent(ports, context, failed, failure),
    // What no other host could do either is no fault of this one.
    ...(failure.retryable ? [noteBuildMessage(ports, context, failed, failed.host as string, words)] : []),
  ])
}

function reasonOf({ fault }: Failure): string {
  return cleanText(`${fault.code}: ${fault.message}`, 4000)
}

function failedEvent(
  { events }: Pick<ConductorPorts, 'events'>,
  context: RequestContext,
  resting: Instance,
  { fault }: Failure,
): DurableMessage {
  const error = errorOf(fault)
  return events.onBehalfOf(resting.host as string).message('instance.rebuild.error', context, resting, error)
}
