import type { Queryable } from '../database/database.ts'
import type { SevbusError } from '../errors.ts'
import type { Fault } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import { cleanText } from '../objects/text.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { mayHaveLeft } from './actions/action-store.ts'
import { beginAction } from './actions/begin-action.ts'
import { endAttempt } from './attempt-store.ts'
import { changeInstance, type InstanceRecord } from './instance-store.ts'
import { endMoveMessage, terminateMessage } from './messages.ts'
import { endMove, type MoveEnd, type MoveRecord } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'
import { settleMove } from './settle-move.ts'

/**
 * The instance is where it was, and what it had there is its own again. What was tried elsewhere is void by that: the
 * numbers of those tries are above its own, and are never given again.
 *
 * @param fault why; null when nobody is to blame
 * @param status of the move
 */
export async function goBack(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  fault: Fault | null,
  status: Extract<MoveEnd, 'failed' | 'reverted'> = 'failed',
): Promise<Instance> {
  const at = ports.now()
  const { source_host: host, source_attempt: attempt, source_encryption: mem_encryption } = move
  const changes = {
    ...{ task_state: null, host, attempt, mem_encryption, fault: fault && notMoved(fault, move) },
    vm_state: move.source_vm_state ?? instance.vm_state,
    ...(move.source_flavor && { flavor: move.source_flavor }),
    ...(move.source_image && { image: move.source_image }),
  }
  const back = await changeInstance(ports, tx, { instance, context }, changes, at)
  await endMove(tx, move.uuid, status, at)
  await ports.outbox.enqueue(tx, [endMoveMessage(ports, move, 'revertMove')])
  const wasTo = move.type === 'evacuation' ? await mayHaveLeft(tx, instance.uuid) : undefined
  return wasTo === undefined ? back : startAsBefore(ports, tx, move.context, back, wasTo)
}

/** Its host makes of the guest what it was before it was to leave. */
export function startAsBefore(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  back: Instance,
  wasTo: 'resize' | 'live_migration',
): Promise<Instance> {
  const power_on = back.vm_state !== 'stopped'
  const action = wasTo === 'resize' ? ({ name: 'finish_revert_resize', power_on } as const) : ROLLBACK
  return beginAction(ports, tx, context, back, action)
}
const ROLLBACK = { name: 'rollback_live_migration' } as const

/** Nobody could take it: those who watch are told, in Nova's words. */
export function notTaken(
  { events }: Pick<ConductorPorts, 'events'>,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  back: Instance,
  error: SevbusError,
  ignoredHosts: readonly string[] = [],
): DurableMessage {
  const spec = requestSpec(instance, ignoredHosts, { move })
  return move.type === 'evacuation' || move.type === 'rebuild'
    ? events.rebuildFailed(context, back, spec, error)
    : events.migrationFailed(context, back, spec, error)
}

function notMoved(fault: Fault, { type, source_host }: MoveRecord): Fault {
  const message = `the ${type} failed, and the instance is on ${source_host} as before: ${fault.message}`
  return { ...fault, message: cleanText(message, MAX_MESSAGE) }
}
/** Of a fault. */
const MAX_MESSAGE = 4000

/**
 * The instance lives where its evacuation has brought it, and is charged for there.
 *
 * @param source what is known of the guest that it left; what is left behind keeps its resources
 */
export async function settle(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  source: 'gone' | 'left behind',
): Promise<Instance> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  const host = instance.host as string
  await endAttempt(tx, { uuid, attempt }, { outcome: 'active', reason: null }, ports.now())
  const reason = `host ${move.source_host} was down; try ${attempt} took over on ${host}`
  const active = await settleMove(ports, tx, record, move, source, {
    changes: { vm_state: 'active', task_state: null, launched_at: move.arrived_at, fault: null },
    left: { outcome: 'evacuated', reason },
    tellsSource: false,
    hasCome: true,
    told: (settled) => [ports.events.onBehalfOf(host).message('instance.rebuild.end', context, settled)],
  })
  // It was built running, and is to be as it was: Nova's way, too.
  const wasStopped = instance.vm_state === 'stopped'
  return wasStopped ? beginAction(ports, tx, move.context, active, { name: 'stop', clean_shutdown: true }) : active
}

/** For a deletion: an evacuated instance is in one place, where it can be deleted. */
export async function callOffEvacuation(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
): Promise<Instance> {
  const { instance, context } = record
  if (move.arrived_at !== null) return settle(ports, tx, record, move, 'left behind')
  const { uuid, attempt, host } = instance
  await endAttempt(tx, { uuid, attempt }, { outcome: 'aborted', reason: 'the instance was deleted' }, ports.now())
  if (host !== null) {
    await ports.outbox.enqueue(tx, [
      terminateMessage(ports, context, host, instance, true),
      ...ports.events.slot('slot.released', context, instance),
    ])
  }
  return goBack(ports, tx, record, move, instance.fault)
}
