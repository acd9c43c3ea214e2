import { isDeepStrictEqual } from 'node:util'
import { isActing, refuseAction } from '../../objects/action-rules.ts'
import { isAttached, refuseAttachment } from '../../objects/attachment-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { InstanceAction } from '../../objects/instance-action.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { interruptionMessages } from '../interrupted.ts'
import type { ConductorPorts } from '../ports.ts'
import { endAction } from './action-store.ts'
import { beginAction } from './begin-action.ts'

/**
 * Has something done to an instance that rests. When it answers that is stored, and its host does it, whatever dies. Asked
 * again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, OperationNotSupportedForSEV, InstanceInvalidState; InvalidArguments, DeviceNotFound of devices
 */
export async function acceptAction(
  ports: ConductorPorts,
  context: RequestContext,
  uuid: string,
  action: InstanceAction,
): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    if (isUnderWay(record, action) || isAttached(record.instance, action)) return record.instance
    refuseAction(record.instance, action)
    refuseAttachment(record.instance, action)
    if (isActing(record.instance)) {
      await ports.outbox.enqueue(tx, interruptionMessages(ports, record, `${action.name} takes its place`))
      await endAction(tx, uuid, 'given up', null, ports.now())
    }
    return beginAction(ports, tx, context, record.instance, action)
  })
  ports.outbox.announce()
  return instance
}

function isUnderWay({ instance, action: current }: InstanceRecord, action: InstanceAction): boolean {
  return isActing(instance) && isDeepStrictEqual(asAsked(current?.action), action)
}

/** A stop that nobody asked for is as good as one that somebody does. */
function asAsked(action: InstanceAction | undefined): InstanceAction | undefined {
  if (action?.name !== 'stop') return action
  const { observed: _, ...asked } = action
  return asked
}
