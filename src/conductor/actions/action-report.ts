import { ERRORS_BY_CODE, InternalError } from '../../errors.ts'
import { ruleOf, stateAfterFailure } from '../../objects/action-rules.ts'
import { devicesAfter } from '../../objects/attachment-rules.ts'
import type { ActionReport, ActionStage } from '../action-methods.ts'
import { changeInstance, lockInstance } from '../instance-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { recordLeft } from '../resize/leave-source.ts'
import { endAction } from './action-store.ts'

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
    if (instance.attempt !== report.attempt || instance.host !== report.host) return
    const at = ports.now()
    const { uuid, vm_state: before } = instance
    const { action, context } = current
    const { becomes = before, event } = ruleOf(action)
    const events = ports.events.onBehalfOf(report.host)
    const { outcome } = report
    if (outcome.result === 'done') {
      const { result: _, ...result } = outcome
      // Why it is back is told as long as it rests there.
      const fault = action.name === 'finish_revert_resize' ? instance.fault : null
      const changes = { vm_state: becomes, task_state: null, fault, ...devicesAfter(instance, action, result) }
      const resting = await changeInstance(ports, tx, { instance, context }, changes, at)
      await endAction(tx, uuid, 'completed', null, at, result)
      return ports.outbox.enqueue(tx, [events.message(`instance.${event}.end`, context, resting, undefined, action)])
    }
    const { fault, guest } = outcome
    const vm_state = stateAfterFailure(before, guest)
    const resting = await changeInstance(ports, tx, { instance, context }, { vm_state, task_state: null, fault }, at)
    await endAction(tx, uuid, 'failed', fault, at)
    const error = new (ERRORS_BY_CODE.get(fault.code) ?? InternalError)(fault.message)
    await ports.outbox.enqueue(tx, [events.message(`instance.${event}.error`, context, resting, error, action)])
  })
  ports.outbox.announce()
}

/** Takes note of how far an action has come. */
export async function recordActionStage(ports: ConductorPorts, stage: ActionStage): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context, action: current } = await lockInstance(tx, stage.instance_uuid)
    if (current?.number !== stage.number || instance.attempt !== stage.attempt || instance.host !== stage.host) return
    await changeInstance(ports, tx, { instance, context }, { task_state: stage.task_state }, ports.now())
  })
}
