import { ActionInterrupted, BuildAborted } from '../errors.ts'
import { ruleOf } from '../objects/action-rules.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { buildIsOver } from './host-events.ts'
import type { InstanceRecord } from './instance-store.ts'
import { isToSayIfItCame } from './live-migration/fenced-destination.ts'
import { ordersFail } from './live-migration/orders.ts'
import { bothFail } from './live-migration/return.ts'
import { asLeft } from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { isOnItsHost } from './stages.ts'

/**
 * Something else takes the place of what is done to an instance: what was told to have begun is told to be over, before that
 * is told to begin. Nova does so of a build whose instance is deleted (`instance.create.error`), and so do we of everything.
 *
 * @param record as it was before
 * @param why in words: `it is deleted`
 */
export function interruptionMessages(
  ports: Pick<ConductorPorts, 'events'>,
  record: InstanceRecord,
  why: string,
): readonly DurableMessage[] {
  const { instance, move, action } = record
  const facts = { instance_uuid: instance.uuid, task_state: instance.task_state }
  if (move !== undefined && action?.action.name === 'live_migration')
    return ordersFail(ports, record, move, new ActionInterrupted(`live_migration: ${why}`, facts))
  if (action !== undefined)
    return actionIsOver(ports, record, new ActionInterrupted(`${action.action.name}: ${why}`, facts))
  const error = new ActionInterrupted(`${instance.task_state}: ${why}`, facts)
  if (move !== undefined && isToSayIfItCame(record)) return bothFail(ports, 'post', record, move, error)
  if (move?.type === 'live-migration' && move.status === 'reverting')
    return bothFail(ports, 'rollback', record, move, error)
  if (instance.task_state === 'shelving_offloading') return offloadIsOver(ports, record, error)
  if (!isOnItsHost(instance) || move?.arrived_at) return []
  return buildIsOver(ports, record.context, instance, new BuildAborted(`the build is over: ${why}`, facts))
}

function actionIsOver(
  { events }: Pick<ConductorPorts, 'events'>,
  { instance, context, move, action }: InstanceRecord,
  error: ActionInterrupted,
): readonly DurableMessage[] {
  const event = action && ruleOf(action.action).event
  const there = move ? asLeft(instance, move) : instance
  if (event === undefined || there.host === null) return []
  const over = { ...there, task_state: null }
  return [events.onBehalfOf(there.host).message(`instance.${event}.error`, context, over, error, action?.action)]
}

function offloadIsOver(
  { events }: Pick<ConductorPorts, 'events'>,
  { instance, context }: InstanceRecord,
  error: ActionInterrupted,
): readonly DurableMessage[] {
  const teller = events.onBehalfOf(instance.host as string)
  return [teller.message('instance.shelve_offload.error', context, { ...instance, task_state: null }, error)]
}
