import type { Queryable } from '../../database/database.ts'
import type { ActionResult, InstanceAction } from '../../objects/instance-action.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import { endAction } from '../actions/action-store.ts'
import { leaveAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { releaseMessage, removeImageMessage, terminateMessage } from '../messages.ts'
import type { ConductorPorts } from '../ports.ts'
import { deleteShelving, insertShelving } from './shelving-store.ts'

/** Its disk is an image: its host is to let go of it, and until it has, what it has there stays its own. */
export async function beginOffload(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  action: Extract<InstanceAction, { name: 'shelve' }>,
  result: ActionResult,
): Promise<void> {
  const at = ports.now()
  const { uuid, mem_encryption } = instance
  const host = instance.host as string
  await endAction(tx, uuid, 'completed', null, at, result)
  await insertShelving(tx, uuid, { image: action.image, host, mem_encryption, first_attempt: null, context })
  const changes = { vm_state: 'shelved', task_state: 'shelving_offloading', fault: null } as const
  const shelved = await changeInstance(ports, tx, { instance, context }, changes, at)
  const events = ports.events.onBehalfOf(host)
  await ports.outbox.enqueue(tx, [
    events.message('instance.shelve.end', context, shelved, undefined, action),
    events.message('instance.shelve_offload.start', context, shelved),
    terminateMessage(ports, context, host, shelved),
  ])
}

/** Nothing of it is on its host any more, or its host is powered off for good: it is on none, and charged for no more. */
export async function endOffload(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  host: string,
): Promise<void> {
  const at = ports.now()
  const { uuid, attempt } = instance
  const changes = { vm_state: 'shelved_offloaded', task_state: null, host: null } as const
  const offloaded = await changeInstance(ports, tx, { instance, context }, changes, at)
  await leaveAttempt(tx, { uuid, attempt }, 'shelved', `shelved on ${host}`)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host).message('instance.shelve_offload.end', context, offloaded),
    ...ports.events.slot('slot.released', context, instance),
    releaseMessage(ports, context, offloaded),
  ])
}

/** Of one that runs again, or is deleted: its image is of no use. */
export async function forgetShelved(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context, shelving }: InstanceRecord,
): Promise<readonly DurableMessage[]> {
  if (shelving === undefined) return []
  await deleteShelving(tx, instance.uuid)
  return [removeImageMessage(ports, context, instance, shelving.image, shelving.host)]
}

/** Of an action that is given up: whether its host had made the image already, nobody knows. */
export function removalOfUnfinished(ports: ConductorPorts, record: InstanceRecord): readonly DurableMessage[] {
  const { instance, context, action: current } = record
  if (current?.action.name !== 'shelve' || instance.host === null) return []
  return [removeImageMessage(ports, context, instance, current.action.image, instance.host)]
}
