import type { Queryable } from '../../database/database.ts'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import { faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import { beginLeaving } from '../actions/begin-action.ts'
import { type AttemptKey, placeAttempt } from '../attempt-store.ts'
import { tryFailed } from '../build-report.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { asArriving, releaseMessage } from '../messages.ts'
import { type MoveRecord, noteDestination } from '../migration-store.ts'
import type { Place } from '../placing.ts'
import type { ConductorPorts } from '../ports.ts'
import { isWaitingForHost } from '../stages.ts'

/**
 * A host has been found and claimed for what moves: it is asked whether it can take the instance, and nothing has changed
 * anywhere until it has said so. Then the source is told to let go.
 */
export async function prepareResize(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  place: Place,
  signal: AbortSignal,
): Promise<void> {
  const { selection, encryption } = place
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  const there = asArriving(instance, { ...move, dest_host: selection.host, dest_encryption: encryption })
  const args = { instance: there, allocations: [...selection.allocations] }
  const answer = await ports.compute
    .prepResize(context, args, { server: selection.host, signal })
    .catch((thrown: unknown) => toSevbusError(thrown))
  signal.throwIfAborted()
  await ports.database.transaction((tx) =>
    'storage' in answer ? leave(ports, tx, key, place, answer.storage) : passOver(ports, tx, key, place, answer),
  )
}

async function leave(ports: ConductorPorts, tx: Queryable, key: AttemptKey, place: Place, storage: string) {
  const record = await waiting(ports, tx, key)
  if (record === undefined) return
  const { instance, context, move } = record
  const { selection, encryption } = place
  const at = ports.now()
  await placeAttempt(tx, key, selection)
  const to = { host: selection.host, encryption }
  await noteDestination(tx, move.uuid, to, at)
  const moving = { ...move, dest_host: to.host, dest_encryption: encryption }
  const events = ports.events.onBehalfOf(selection.host)
  const flavor = move.new_flavor ?? instance.flavor
  const there = asArriving(instance, moving)
  await ports.outbox.enqueue(tx, [
    ...ports.events.slot('slot.claimed', context, there),
    events.existsSoFar(context, instance),
    events.resizePrep('start', context, instance, flavor),
    events.resizePrep('end', context, instance, flavor),
  ])
  const action = { name: 'resize_instance', clean_shutdown: true, storage } as const
  await beginLeaving(ports, tx, { ...record, move: moving }, action)
}

/** It cannot take it, or does not answer: the next one may. */
async function passOver(ports: ConductorPorts, tx: Queryable, key: AttemptKey, place: Place, error: SevbusError) {
  const record = await waiting(ports, tx, key)
  if (record === undefined) return
  await placeAttempt(tx, key, place.selection)
  const { instance, context, move } = record
  const { selection, encryption } = place
  const there = asArriving(instance, { ...move, dest_host: selection.host, dest_encryption: encryption })
  await ports.outbox.enqueue(tx, [...ports.events.slot('slot.claimed', context, there)])
  await failThere(ports, tx, record, there, error)
}

/** The try has failed where it would have been, and nothing has changed at the source. */
export async function failThere(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  there: Instance,
  error: SevbusError,
): Promise<void> {
  const fault = faultOf(error, ports.now().toISOString())
  await tryFailed(ports, tx, record, { fault, retryable: error.retryable, there })
}

/** Undefined: somebody was faster, and the claim goes back with what that does; of a deleted instance it goes back here. */
async function waiting(ports: ConductorPorts, tx: Queryable, { uuid, attempt }: AttemptKey) {
  const record = await lockInstance(tx, uuid)
  const { instance, context, move } = record
  if (move !== undefined && isWaitingForHost(instance, attempt)) return { ...record, move }
  if (instance.vm_state === 'deleted') await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
  return undefined
}
