import type { Queryable } from '../../database/database.ts'
import { ruleOf } from '../../objects/action-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { InstanceAction } from '../../objects/instance-action.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { actionStarts } from '../host-events.ts'
import { changeInstance } from '../instance-store.ts'
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
  const at = ports.now()
  const number = await insertAction(tx, instance.uuid, { action, context }, at)
  const acting = await changeInstance(tx, instance, { task_state: ruleOf(action).task }, at)
  await ports.outbox.enqueue(tx, [
    actionStarts(ports, context, acting, action),
    actionMessage(ports, acting, { number, action, context }),
  ])
  return acting
}
