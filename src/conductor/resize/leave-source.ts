import type { Queryable } from '../../database/database.ts'
import { ERRORS_BY_CODE, InternalError, InvalidSharedStorage } from '../../errors.ts'
import { isAsItRests } from '../../objects/action-rules.ts'
import type { ActionReport } from '../action-methods.ts'
import { endAction } from '../actions/action-store.ts'
import { allocationsOf, endAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { asArriving, asLeft, finishResizeMessage } from '../messages.ts'
import { type MoveRecord, noteDisks } from '../migration-store.ts'
import { goBack } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'
import { RESIZE } from '../stages.ts'
import { userDataOf } from '../user-data-store.ts'
import { returnToSource } from './arrive.ts'
import { failThere } from './prepare.ts'

/** How the source has ended its part: then the destination does its own, or all is as it was. */
export async function recordLeft(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  { host, attempt, outcome }: ActionReport,
): Promise<void> {
  const { move } = record
  if (move === undefined || host !== move.source_host || attempt !== move.source_attempt) return
  if (outcome.result === 'failed') await notLeft(ports, tx, record, move, outcome)
  else if (outcome.disks !== undefined) await goOn(ports, tx, record, { ...move, disks: outcome.disks })
}

async function goOn(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, move: MoveRecord): Promise<void> {
  const { instance, context } = record
  const at = ports.now()
  const { uuid, attempt } = instance
  await endAction(tx, uuid, 'completed', null, at)
  if (move.disks !== null) await noteDisks(tx, move.uuid, move.disks, at)
  const { host, flavor, mem_encryption } = asArriving(instance, move)
  const there = await changeInstance(
    ports,
    tx,
    { instance, context },
    { task_state: RESIZE.onHost, host, flavor, mem_encryption },
    at,
  )
  const left = { ...asLeft(instance, move), task_state: 'resize_migrated' as const, updated_at: at.toISOString() }
  const allocations = await allocationsOf(tx, { uuid, attempt })
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(move.source_host).message('instance.resize.end', context, left),
    ports.events.onBehalfOf(host as string).message('instance.resize_finish.start', context, there),
    finishResizeMessage(ports, there, move, allocations, await userDataOf(tx, record)),
  ])
}

async function notLeft(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  { fault, guest }: Extract<ActionReport['outcome'], { result: 'failed' }>,
): Promise<void> {
  const { instance, context } = record
  const at = ports.now()
  const { uuid, attempt, vm_state } = instance
  await endAction(tx, uuid, 'failed', fault, at)
  const error = new (ERRORS_BY_CODE.get(fault.code) ?? InternalError)(fault.message, fault.details)
  const isUnchanged = isAsItRests(vm_state, guest)
  // Another host may share the disks.
  if (isUnchanged && error instanceof InvalidSharedStorage) {
    return failThere(ports, tx, record, asArriving(instance, move), error)
  }
  const reason = `${fault.code}: ${fault.message}`.slice(0, 4000)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason }, at)
  const back = await (isUnchanged ? goBack : returnToSource)(ports, tx, record, move, fault)
  const events = ports.events.onBehalfOf(move.source_host)
  await ports.outbox.enqueue(tx, [
    events.message('instance.resize.error', context, back, error),
    ...ports.events.slot('slot.released', context, asArriving(instance, move)),
  ])
}
