import type { Queryable } from '../../database/database.ts'
import type { SevbusError } from '../../errors.ts'
import { errorOf, type Fault } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import { endAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { asArriving, asLeft, continueBuildMessage, rollbackLiveMessage } from '../messages.ts'
import { decideMove, type MoveRecord } from '../migration-store.ts'
import { goBack, startAsBefore } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'

/**
 * It has not left, and its guest runs where it was. What the destination has made ready stays claimed until that is gone.
 *
 * @param fault why; null: somebody wanted it so
 */
export async function beginLiveReturn(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  fault: Fault | null,
): Promise<void> {
  const at = ports.now()
  await decideMove(tx, move.uuid, { status: 'reverting', fault }, at)
  const returning = await changeInstance(ports, tx, { instance, context }, { task_state: 'migrating_reverting' }, at)
  await ports.outbox.enqueue(tx, [
    ...rolledBack(ports, 'start', context, returning, move),
    ...liveReturnMessages(ports, returning, move),
  ])
}

/** What is said, and said again, until the destination has nothing of it. */
export function liveReturnMessages(ports: ConductorPorts, instance: Instance, move: MoveRecord) {
  return [
    rollbackLiveMessage(ports, asArriving(instance, move), move),
    continueBuildMessage(ports, move.context, instance),
  ]
}

/** The destination has nothing of it any more. */
export async function liveReturned(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, move: MoveRecord) {
  const { instance, context } = record
  await ports.outbox.enqueue(tx, rolledBack(ports, 'end', context, instance, move))
  await goBack(ports, tx, record, move, move.fault, move.fault === null ? 'reverted' : 'failed')
}

/** It does not run at the destination, which has removed what it had: its guest is made at the source what it was. */
export async function notArrived(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  fault: Fault,
): Promise<Instance> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  const reason = `${fault.code}: ${fault.message}`.slice(0, 4000)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'failed', reason }, ports.now())
  const error = errorOf(fault)
  await ports.outbox.enqueue(tx, [
    ...bothFail(ports, 'post', record, move, error),
    // What the source does is told of by its action.
    rolledBackThere(ports, 'start', context, instance, move),
    rolledBackThere(ports, 'end', context, instance, move),
  ])
  const back = await goBack(ports, tx, record, move, fault)
  return startAsBefore(ports, tx, move.context, back, 'live_migration')
}

/** What both hosts were said to begin is over: the guest does not arrive, or something else takes the place of its way back. */
export function bothFail(
  { events }: Pick<ConductorPorts, 'events'>,
  what: 'post' | 'rollback',
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  error: SevbusError,
): readonly DurableMessage[] {
  const over = { ...instance, task_state: null }
  const there = events.onBehalfOf(move.dest_host as string)
  return [
    events
      .onBehalfOf(move.source_host)
      .message(`instance.live_migration_${what}.error`, context, asLeft(over, move), error),
    there.message(`instance.live_migration_${what}_dest.error`, context, asArriving(over, move), error),
  ]
}

/** Nova's two events, of either host. */
function rolledBack(
  ports: Pick<ConductorPorts, 'events'>,
  phase: 'start' | 'end',
  context: InstanceRecord['context'],
  instance: Instance,
  move: MoveRecord,
) {
  const teller = ports.events.onBehalfOf(move.source_host)
  return [
    teller.message(`instance.live_migration_rollback.${phase}`, context, asLeft(instance, move)),
    rolledBackThere(ports, phase, context, instance, move),
  ]
}

function rolledBackThere(
  { events }: Pick<ConductorPorts, 'events'>,
  phase: 'start' | 'end',
  context: InstanceRecord['context'],
  instance: Instance,
  move: MoveRecord,
) {
  const teller = events.onBehalfOf(move.dest_host as string)
  return teller.message(`instance.live_migration_rollback_dest.${phase}`, context, asArriving(instance, move))
}
