import type { Queryable } from '../database/database.ts'
import type { Instance } from '../objects/instance.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { leaveAttempt } from './attempt-store.ts'
import { changeInstance, type InstanceChanges, type InstanceRecord } from './instance-store.ts'
import { asLeft, departureMessage, endMoveMessage, noteBuildMessage } from './messages.ts'
import { endMove, type MoveRecord, noteAsked } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'

/** What is of one kind of move alone, when its instance stays where it is now. */
export interface Settlement {
  readonly changes: InstanceChanges
  /** Why the try at the source is over; undefined: the instance has never lived under another. */
  readonly left?: { readonly outcome: 'evacuated' | 'moved'; readonly reason: string } | undefined
  /** The source is told now that its guest is to go; else it was told before. */
  readonly tellsSource: boolean
  /** It has come to its host just now, which counts for that. */
  readonly hasCome: boolean
  /** What is told of it, before anybody hears that it is charged for here alone. */
  readonly told: (settled: Instance) => readonly DurableMessage[]
}

/**
 * The instance stays where it is now, and is charged for there.
 *
 * @param source what is known of the guest that it left: what is left behind keeps its resources, and is asked for again
 */
export async function settleMove(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  source: 'gone' | 'left behind',
  { changes, left, tellsSource, hasCome, told }: Settlement,
): Promise<Instance> {
  const at = ports.now()
  const settled = await changeInstance(ports, tx, { instance, context }, changes, at)
  const there = { uuid: instance.uuid, attempt: move.source_attempt }
  if (left !== undefined) await leaveAttempt(tx, there, left.outcome, left.reason)
  await endMove(tx, move.uuid, source === 'gone' ? 'completed' : 'done', at)
  const isAsked = tellsSource && source === 'left behind'
  if (isAsked) await noteAsked(tx, move.uuid, at)
  await ports.outbox.enqueue(tx, [
    ...told(settled),
    // Kept on the source until that is fenced or rid of its guest, but charged for no more.
    ...ports.events.slot('slot.released', context, asLeft(instance, move)),
    ...(hasCome ? [noteBuildMessage(ports, context, settled, settled.host as string, null)] : []),
    ...(isAsked ? [departureMessage(ports, instance, move)] : []),
    endMoveMessage(ports, move, source === 'gone' ? 'confirmMove' : 'finishMove'),
  ])
  return settled
}
