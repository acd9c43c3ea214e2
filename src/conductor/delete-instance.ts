import type { Queryable } from '../database/database.ts'
import { isActing } from '../objects/action-rules.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { endAction } from './actions/action-store.ts'
import { endAttempt } from './attempt-store.ts'
import { deletionEnds, deletionStarts } from './host-events.ts'
import { changeInstance, type InstanceRecord, lockInstance, waitingOfBatch } from './instance-store.ts'
import { interruptionMessages } from './interrupted.ts'
import { callOffLive } from './live-migration/arrive.ts'
import { continueBuildMessage, releaseMessage, terminateMessage } from './messages.ts'
import type { MoveRecord } from './migration-store.ts'
import { callOffEvacuation } from './moving.ts'
import type { ConductorPorts } from './ports.ts'
import { callOffRebuild } from './rebuild/call-off.ts'
import { callOffResize } from './resize/call-off.ts'
import { endOffload, forgetShelved, removalOfUnfinished } from './shelve/offload.ts'
import { forgetUserData } from './user-data-store.ts'

/** Starts the deletion; where a host has the guest, its report ends it. Asked again, the host is told again. */
export async function deleteInstance(ports: ConductorPorts, context: RequestContext, uuid: string): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    await ports.outbox.enqueue(tx, interruptionMessages(ports, record, 'the instance is deleted'))
    const instance = record.move ? await callOff(ports, tx, record, record.move) : record.instance
    if (instance.vm_state === 'deleted') return instance
    if (isActing(instance)) {
      // Its way back from a resize has only just begun, and been told.
      if (!isActing(record.instance)) {
        const begun = interruptionMessages(ports, await lockInstance(tx, uuid), 'the instance is deleted')
        await ports.outbox.enqueue(tx, begun)
      }
      await endAction(tx, uuid, 'given up', null, ports.now())
    }
    if (instance.host === null) return deleteWithoutHost(ports, tx, context, record)
    const deleting = await deleteOnHost(ports, tx, context, instance, instance.host)
    await ports.outbox.enqueue(tx, removalOfUnfinished(ports, record))
    return deleting
  })
  ports.outbox.announce()
  return instance
}

function callOff(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, move: MoveRecord): Promise<Instance> {
  const why = 'the instance was deleted'
  if (move.type === 'evacuation') return callOffEvacuation(ports, tx, record, move)
  if (move.type === 'live-migration') return callOffLive(ports, tx, record, move, why)
  if (move.type === 'rebuild') return callOffRebuild(ports, tx, record, move, why)
  return callOffResize(ports, tx, record, move, why)
}

async function deleteOnHost(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  host: string,
) {
  const deleting = await changeInstance(ports, tx, { instance, context }, { task_state: 'deleting' }, ports.now())
  if (instance.task_state !== 'deleting') await ports.outbox.enqueue(tx, [deletionStarts(ports, context, deleting)])
  await ports.outbox.enqueue(tx, [terminateMessage(ports, context, host, deleting)])
  return deleting
}

/** It never had a guest, or lost it: there is nobody but us to tell the end. A scheduler that still thinks is voided. */
async function deleteWithoutHost(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  record: InstanceRecord,
) {
  const { instance, batch } = record
  const at = ports.now()
  const gone = { vm_state: 'deleted', task_state: null, terminated_at: at.toISOString() } as const
  const deleted = await changeInstance(ports, tx, { instance, context }, gone, at)
  await forgetUserData(tx, record)
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  await endAttempt(tx, key, { outcome: 'aborted', reason: 'the instance was deleted' }, at)
  const api = ports.events.onBehalfOfApi()
  await ports.outbox.enqueue(tx, [
    api.message('instance.delete.start', context, { ...instance, task_state: 'deleting' }),
    api.message('instance.delete.end', context, deleted),
    releaseMessage(ports, context, deleted),
    ...(await forgetShelved(ports, tx, record)),
    ...(await nextOfBatch(ports, tx, batch)),
  ])
  return deleted
}

/** Whoever it was that led those who wait with it: the next one does now. */
async function nextOfBatch(ports: ConductorPorts, tx: Queryable, batch: string | null) {
  const [next] = batch === null ? [] : await waitingOfBatch(tx, batch)
  return next === undefined ? [] : [continueBuildMessage(ports, next.context, next.instance)]
}

export interface Terminated {
  readonly instance_uuid: string
  readonly attempt: number
  readonly host: string
  readonly terminated_at: string
}

/**
 * The host has no guest of it any more: only now is the slot free. It is deleted, or shelved.
 *
 * @param context of the request to delete it, which the host was given
 */
export async function recordTerminated(
  ports: ConductorPorts,
  context: RequestContext,
  report: Terminated,
): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, report.instance_uuid)
    const { instance } = record
    if (instance.vm_state === 'deleted' || instance.host !== report.host || instance.attempt !== report.attempt) return
    if (instance.task_state === 'shelving_offloading') await endOffload(ports, tx, record, report.host)
    else await endDeletion(ports, tx, context, record, report.host, report.terminated_at)
  })
  ports.outbox.announce()
}

/** Of a locked instance whose guest is not on its host any more, or cannot run there. */
export async function endDeletion(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  record: InstanceRecord,
  host: string,
  terminated_at: string,
): Promise<void> {
  const { instance } = record
  const at = ports.now()
  const gone = { vm_state: 'deleted', task_state: null, host: null, terminated_at } as const
  const deleted = await changeInstance(ports, tx, { instance, context }, gone, at)
  await forgetUserData(tx, record)
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  await endAttempt(tx, key, { outcome: 'aborted', reason: 'the instance was deleted' }, at)
  await ports.outbox.enqueue(tx, [
    ...deletionEnds(ports, context, deleted, host),
    releaseMessage(ports, context, deleted),
    ...(await forgetShelved(ports, tx, record)),
  ])
}
