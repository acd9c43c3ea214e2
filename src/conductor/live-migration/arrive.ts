import type { Queryable } from '../../database/database.ts'
import type { Instance } from '../../objects/instance.ts'
import { endAction } from '../actions/action-store.ts'
import { endAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { asArriving, asLeft, rollbackLiveMessage } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import { goBack } from '../moving.ts'
import type { ConductorPorts } from '../ports.ts'
import { settleMove } from '../settle-move.ts'
import { LIVE } from '../stages.ts'

/** It runs at its destination. What it has left at its source goes, and is free when that is gone. */
export async function arriveLive(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, move: MoveRecord) {
  const { context, instance } = record
  const { uuid, attempt } = instance
  const host = instance.host as string
  await endAttempt(tx, { uuid, attempt }, { outcome: 'active', reason: null }, ports.now())
  await settle(ports, tx, record, move, true, (settled) => [
    ports.events.onBehalfOf(host).message('instance.live_migration_post_dest.end', context, settled),
    ports.events
      .onBehalfOf(move.source_host)
      .message('instance.live_migration_post.end', context, asLeft(settled, move)),
  ])
}

/**
 * For what takes the place of a live migration: the instance is in one place. While its source has not been told to send it,
 * that is where it was; then nobody knows where its guest runs, and it is at the destination, which is always rid of it by
 * one word: without its disks there it cannot come any more. The source is told to remove what it has.
 *
 * @param reason of the try that is over
 */
export async function callOffLive(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  reason: string,
): Promise<Instance> {
  const { instance, context } = record
  const { uuid, attempt } = instance
  const at = ports.now()
  await endAttempt(tx, { uuid, attempt }, { outcome: 'aborted', reason }, at)
  if (instance.task_state === LIVE.waiting) {
    if (move.dest_host !== null) {
      await ports.outbox.enqueue(tx, [rollbackLiveMessage(ports, asArriving(instance, move), move)])
    }
    return goBack(ports, tx, record, move, null)
  }
  await endAction(tx, uuid, 'given up', null, at)
  const { host, mem_encryption } = asArriving(instance, move)
  const there = await changeInstance(ports, tx, { instance, context }, { host, mem_encryption }, at)
  return settle(ports, tx, { ...record, instance: there }, move, false, () => [])
}

function settle(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  hasCome: boolean,
  told: Parameters<typeof settleMove>[5]['told'],
): Promise<Instance> {
  const { attempt, host } = record.instance
  const left = { outcome: 'moved', reason: `to ${host} as try ${attempt}` } as const
  const changes = { task_state: null, fault: null } as const
  return settleMove(ports, tx, record, move, 'left behind', { changes, left, tellsSource: true, hasCome, told })
}
