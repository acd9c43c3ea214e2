import type { Queryable } from '../../database/database.ts'
import { ruleOf, stateAfterFailure } from '../../objects/action-rules.ts'
import { devicesAfter } from '../../objects/attachment-rules.ts'
import { errorOf } from '../../objects/fault.ts'
import type { ActionReport, ActionStage } from '../action-methods.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { recordLiveLeft } from '../live-migration/leave-source.ts'
import type { ConductorPorts } from '../ports.ts'
import { recordLeft } from '../resize/leave-source.ts'
import { beginOffload } from '../shelve/offload.ts'
import { type CurrentAction, endAction } from './action-store.ts'

/**
 * Takes note of how an action ended on its host. Told twice, or of an action that something else took the place of, it is
 * nothing.
 */
export async function recordActionReport(ports: ConductorPorts, report: ActionReport): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, report.instance_uuid)
    const { instance, action: current } = record
    if (current?.number !== report.number) return
    if (current.action.name === 'resize_instance') return recordLeft(ports, tx, record, report)
    if (current.action.name === 'live_migration') return recordLiveLeft(ports, tx, record, report)
    if (instance.attempt !== report.attempt || instance.host !== report.host) return
    const acted = { ...record, action: current }
    if (report.outcome.result === 'failed') await failed(ports, tx, acted, report.outcome)
    else await done(ports, tx, acted, report.outcome)
  })
  ports.outbox.announce()
}

type Acted = InstanceRecord & { readonly action: CurrentAction }
type Done = Extract<ActionReport['outcome'], { result: 'done' }>
type Failed = Extract<ActionReport['outcome'], { result: 'failed' }>

async function done(
  ports: ConductorPorts,
  tx: Queryable,
  record: Acted,
  { result: _, ...result }: Done,
): Promise<void> {
  const { instance, context } = record
  const { action } = record.action
  if (action.name === 'shelve') return beginOffload(ports, tx, record, action, result)
  const at = ports.now()
  const { becomes = instance.vm_state, event } = ruleOf(action)
  // Why it is back is told as long as it rests there.
  const isBack = action.name === 'finish_revert_resize' || action.name === 'rollback_live_migration'
  const fault = isBack ? instance.fault : null
  const changes = { vm_state: becomes, task_state: null, fault, ...devicesAfter(instance, action, result) }
  const resting = await changeInstance(ports, tx, { instance, context }, changes, at)
  await endAction(tx, instance.uuid, 'completed', null, at, result)
  // What has no event is a part of a move, which tells by itself.
  if (event === undefined) return
  const events = ports.events.onBehalfOf(instance.host as string)
  await ports.outbox.enqueue(tx, [
    // As in Nova: of what it was before.
    ...(action.name === 'rescue' ? [events.existsSoFar(context, instance)] : []),
    events.message(`instance.${event}.end`, context, resting, undefined, action),
  ])
}

async function failed(ports: ConductorPorts, tx: Queryable, record: Acted, { fault, guest }: Failed): Promise<void> {
  const { instance, context } = record
  const { action } = record.action
  const at = ports.now()
  const vm_state = stateAfterFailure(instance.vm_state, guest)
  const resting = await changeInstance(ports, tx, { instance, context }, { vm_state, task_state: null, fault }, at)
  await endAction(tx, instance.uuid, 'failed', fault, at)
  const error = errorOf(fault)
  const { event } = ruleOf(action)
  if (event === undefined) return
  const events = ports.events.onBehalfOf(instance.host as string)
  await ports.outbox.enqueue(tx, [events.message(`instance.${event}.error`, context, resting, error, action)])
}

/** Takes note of how far an action has come. */
export async function recordActionStage(ports: ConductorPorts, stage: ActionStage): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context, action: current } = await lockInstance(tx, stage.instance_uuid)
    if (current?.number !== stage.number || instance.attempt !== stage.attempt || instance.host !== stage.host) return
    await changeInstance(ports, tx, { instance, context }, { task_state: stage.task_state }, ports.now())
  })
}
