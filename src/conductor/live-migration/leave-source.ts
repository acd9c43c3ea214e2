import type { Queryable } from '../../database/database.ts'
import { errorOf, type Fault } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ActionReport } from '../action-methods.ts'
import { endAction } from '../actions/action-store.ts'
import { endAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord } from '../instance-store.ts'
import { asArriving, asLeft, postLiveMessage } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { LIVE } from '../stages.ts'
import { isGivenUp, ordersEnd } from './orders.ts'
import { beginLiveReturn } from './return.ts'

/** How the source has ended its part: its guest runs there still, or the destination has to say whether it does there. */
export async function recordLiveLeft(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  { host, attempt, outcome }: ActionReport,
): Promise<void> {
  const { move, instance } = record
  if (move === undefined || host !== move.source_host || attempt !== move.source_attempt) return
  const at = ports.now()
  if (outcome.result === 'done') {
    await endAction(tx, instance.uuid, 'completed', null, at)
    await ports.outbox.enqueue(tx, ordersEnd(ports, record, move, undefined))
    await lookThere(ports, tx, record, move)
    return
  }
  const { fault, guest } = outcome
  await endAction(tx, instance.uuid, 'failed', fault, at)
  const error = errorOf(fault)
  await ports.outbox.enqueue(tx, ordersEnd(ports, record, move, error))
  if (guest === 'running') await stay(ports, tx, record, move, fault)
  else await lookThere(ports, tx, record, move)
}

/**
 * Its guest does not run at the source, as far as anybody knows, or that host is dead: it runs at the destination, which has
 * to say so, or nowhere.
 */
export async function lookThere(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
): Promise<Instance> {
  const { host, mem_encryption } = asArriving(instance, move)
  const there = await changeInstance(
    ports,
    tx,
    { instance, context },
    { task_state: LIVE.onHost, host, mem_encryption },
    ports.now(),
  )
  const left = { ...asLeft(instance, move), updated_at: there.updated_at }
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(move.source_host).message('instance.live_migration_post.start', context, left),
    ports.events.onBehalfOf(host as string).message('instance.live_migration_post_dest.start', context, there),
    postLiveMessage(ports, there, move),
  ])
  return there
}

async function stay(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  fault: Fault,
): Promise<void> {
  const { uuid, attempt } = record.instance
  const reason = `${fault.code}: ${fault.message}`.slice(0, 4000)
  const wanted = isGivenUp(record)
  await endAttempt(tx, { uuid, attempt }, { outcome: wanted ? 'aborted' : 'failed', reason }, ports.now())
  await beginLiveReturn(ports, tx, record, move, wanted ? null : fault)
}
