import type { Instance } from '../../objects/instance.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { placeAttempt } from '../attempt-store.ts'
import { buildStarts } from '../host-events.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { asLeft, rebuildMessage, releaseMessage } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import type { Place } from '../placing.ts'
import type { ConductorPorts } from '../ports.ts'
import { isWaitingForHost, REBUILD } from '../stages.ts'
import { userDataOf } from '../user-data-store.ts'

/** Its host may, and has what it takes: from here on the instance is of the new image, and its host makes the guest so. */
export async function beginRebuild(ports: ConductorPorts, seen: InstanceRecord, { selection, encryption }: Place) {
  const key = { uuid: seen.instance.uuid, attempt: seen.instance.attempt }
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, key.uuid)
    const { instance, context, move } = record
    if (move?.type !== 'rebuild' || !isWaitingForHost(instance, key.attempt)) {
      // Somebody was faster, and the claim goes back with what that does; of a deleted instance it goes back here.
      if (instance.vm_state === 'deleted') await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
      return
    }
    await placeAttempt(tx, key, selection)
    await ports.outbox.enqueue(tx, [
      ports.events.message('instance.rebuild_scheduled', context, instance),
      ports.events.onBehalfOf(selection.host).existsSoFar(context, instance),
    ])
    const image = move.new_image ?? instance.image
    const changes = { task_state: REBUILD.onHost, mem_encryption: encryption, image }
    const there = await changeInstance(ports, tx, { instance, context }, changes, ports.now())
    const userData = await userDataOf(tx, record)
    await ports.outbox.enqueue(tx, [
      ...(keepsSlot(there, move) ? earlierSlot(ports, context, there, move) : []),
      ...buildStarts(ports, context, there),
      rebuildMessage(ports, there, move, selection.allocations, userData),
    ])
  })
}

/** The slot that it had is the one that it has, and is charged for once: without a gap. */
export function keepsSlot({ mem_encryption }: Instance, { source_encryption }: MoveRecord): boolean {
  return mem_encryption?.model === source_encryption?.model
}

/** What it had is charged for no more. */
export function earlierSlot(
  { events }: Pick<ConductorPorts, 'events'>,
  context: RequestContext,
  instance: Instance,
  move: MoveRecord,
): readonly DurableMessage[] {
  return events.slot('slot.released', context, asLeft(instance, move))
}
