import type { Queryable } from '../../database/database.ts'
import { ruleOf } from '../../objects/action-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { InstanceAction } from '../../objects/instance-action.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { actionStarts } from '../host-events.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { asLeft } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { insertAction } from './action-store.ts'
import { actionMessage } from './messages.ts'

/** Of a locked instance on a host, whose last action has ended. */
export async function beginAction(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  action: InstanceAction,
): Promise<Instance> {
  return begin(ports, tx, { instance, context }, action)
}

/** What the host does that an instance is to leave: it knows the instance as it was. */
export async function beginLeaving(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord & { readonly move: MoveRecord },
  action: InstanceAction,
): Promise<Instance> {
  return begin(ports, tx, record, action)
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context, move }: Pick<InstanceRecord, 'instance' | 'context' | 'move'>,
  action: InstanceAction,
): Promise<Instance> {
  const at = ports.now()
  const number = await insertAction(tx, instance.uuid, { action, context }, at)
  const acting = await changeInstance(ports, tx, { instance, context }, { task_state: ruleOf(action).task }, at)
  const there = move === undefined ? acting : asLeft(acting, move)
  await ports.outbox.enqueue(tx, [
    ...actionStarts(ports, context, there, action),
    actionMessage(ports, there, { number, action, context }),
  ])
  return acting
}
