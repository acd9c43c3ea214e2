import type { Queryable } from '../../database/database.ts'
import { BuildInterrupted } from '../../errors.ts'
import { type Fault, faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { endAttempt, leaveAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { liveReturned, liveReturnMessages } from '../live-migration/return.ts'
import { continueBuildMessage, departureMessage, leaveDestinationMessage } from '../messages.ts'
import { decideMove, type MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { settleMove } from '../settle-move.ts'
import { moveToDecide } from './accept-resize.ts'
import { returnToSource } from './arrive.ts'

/**
 * It stays: what it left at its source goes, and with that the source's resources are free. Asked again it is nothing.
 *
 * @throws InstanceNotFound, InstanceInvalidState
 */
export function confirmResize(ports: ConductorPorts, context: RequestContext, uuid: string): Promise<Instance> {
  return decide(ports, uuid, 'resize_confirming', async (tx, record) => {
    const move = moveToDecide(record, 'confirm')
    const at = ports.now()
    await decideMove(tx, move.uuid, { status: 'confirming' }, at)
    const confirming = await changeInstance(
      ports,
      tx,
      { instance: record.instance, context },
      { task_state: 'resize_confirming' },
      at,
    )
    await ports.outbox.enqueue(tx, [
      ports.events.onBehalfOf(move.source_host).message('instance.resize_confirm.start', context, confirming),
      departureMessage(ports, confirming, move),
    ])
    return confirming
  })
}

/**
 * It goes back to what it was before, and where: first its destination removes what it has. Asked again it is nothing.
 *
 * @throws InstanceNotFound, InstanceInvalidState
 */
export function revertResize(ports: ConductorPorts, uuid: string): Promise<Instance> {
  return decide(ports, uuid, 'resize_reverting', async (tx, record) => {
    const reverting = await beginReturn(ports, tx, record, moveToDecide(record, 'revert'), null)
    const events = ports.events.onBehalfOf(reverting.host as string)
    await ports.outbox.enqueue(tx, [events.existsSoFar(record.context, reverting)])
    return reverting
  })
}

async function decide(
  ports: ConductorPorts,
  uuid: string,
  task: Instance['task_state'],
  work: (tx: Queryable, record: InstanceRecord) => Promise<Instance>,
): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    return record.instance.task_state === task ? record.instance : work(tx, record)
  })
  ports.outbox.announce()
  return instance
}

/** While the destination may have a guest, what that has stays claimed, and the source starts none. */
async function beginReturn(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  fault: Fault | null,
): Promise<Instance> {
  const at = ports.now()
  await decideMove(tx, move.uuid, { status: 'reverting', fault }, at)
  const reverting = await changeInstance(ports, tx, { instance, context }, { task_state: 'resize_reverting' }, at)
  await ports.outbox.enqueue(tx, returnMessages(ports, reverting, move))
  return reverting
}

/** What is said, and said again, until the destination has nothing of it. */
export function returnMessages(ports: ConductorPorts, instance: Instance, move: MoveRecord) {
  if (move.type === 'live-migration') return liveReturnMessages(ports, instance, move)
  return [leaveDestinationMessage(ports, instance, move), continueBuildMessage(ports, move.context, instance)]
}

/** Nothing was heard of the build at the destination for the build timeout. */
export async function giveUpDestination(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
) {
  const { uuid, attempt, host } = record.instance
  const seconds = ports.buildTimeoutMs / 1000
  const silent = new BuildInterrupted(`host ${host} has not reported the build within ${seconds} s`, { host })
  const fault = faultOf(silent, ports.now().toISOString())
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason: silent.message }, ports.now())
  const { instance, context } = record
  const failed = { ...instance, task_state: null, fault }
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host as string).message('instance.resize.error', context, failed, silent),
  ])
  await beginReturn(ports, tx, record, move, fault)
}

/** The destination has nothing of it any more. */
export async function leftDestination(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
): Promise<void> {
  if (move.type === 'live-migration') return liveReturned(ports, tx, record, move)
  const { uuid, attempt, vm_state } = record.instance
  if (vm_state === 'resized') await leaveAttempt(tx, { uuid, attempt }, 'reverted', `back to ${move.source_host}`)
  const { instance, context } = record
  await ports.outbox.enqueue(tx, [...ports.events.slot('slot.released', context, instance)])
  await returnToSource(ports, tx, record, move, move.fault)
}

/**
 * It stays where it is now.
 *
 * @param source what is known of what it left
 */
export function settleResize(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  source: 'gone' | 'left behind',
): Promise<Instance> {
  const { instance, context } = record
  const isArrived = instance.vm_state === 'resized'
  const vm_state = isArrived ? (move.source_vm_state ?? 'active') : instance.vm_state
  const reason = `to ${instance.host} as try ${instance.attempt}`
  const events = ports.events.onBehalfOf(move.source_host)
  return settleMove(ports, tx, record, move, source, {
    changes: { vm_state, task_state: null },
    left: isArrived ? { outcome: 'moved', reason } : undefined,
    tellsSource: true,
    hasCome: false,
    told: (settled) =>
      move.status === 'confirming' ? [events.message('instance.resize_confirm.end', context, settled)] : [],
  })
}
