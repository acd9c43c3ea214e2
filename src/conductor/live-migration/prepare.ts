import type { Queryable } from '../../database/database.ts'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import { faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../objects/live-migrate-data.ts'
import { beginLeaving } from '../actions/begin-action.ts'
import { type AttemptKey, endAttempt, placeAttempt } from '../attempt-store.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { asArriving, asLeft, releaseMessage, rollbackLiveMessage } from '../messages.ts'
import { type MoveRecord, noteDestination } from '../migration-store.ts'
import { goBack, notTaken } from '../moving.ts'
import type { Place } from '../placing.ts'
import type { ConductorPorts } from '../ports.ts'
import { failThere } from '../resize/prepare.ts'
import { isWaitingForHost } from '../stages.ts'

interface Waiting extends InstanceRecord {
  readonly move: MoveRecord
}

/**
 * A host has been found and claimed. The source is asked whether its guest can leave, the destination whether it can come,
 * and then to make ready; then the source is told to send it. Until that the guest is where it is, whatever happens.
 */
export async function prepareLiveMigration(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  place: Place,
  signal: AbortSignal,
): Promise<void> {
  const { database } = ports
  const { host, allocations } = place.selection
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  const there = { ...asArriving(instance, { ...move, dest_host: host, dest_encryption: place.encryption }) }
  const asked = ask(signal)
  const [from, to] = [move.source_host, host].map((server) => ({ server, signal }))

  const source = await asked(
    ports.compute.checkCanLiveMigrateSource(context, { instance: asLeft(instance, move) }, from),
  )
  if (!('disks' in source)) return await database.transaction((tx) => cannotLeave(ports, tx, key, source))
  const args = { instance: there, allocations: [...allocations], storage: source.storage }
  const refusal = await asked(ports.compute.checkCanLiveMigrateDestination(context, args, to))
  if (refusal !== null) return await database.transaction((tx) => passOver(ports, tx, key, place, there, refusal))
  if (!(await database.transaction((tx) => goThere(ports, tx, key, place)))) return
  const ready = await asked(preLiveMigration(ports, context, there, source.disks, to))
  await database.transaction((tx) =>
    'folder' in ready ? send(ports, tx, key, there, ready) : passOver(ports, tx, key, place, there, ready),
  )
}

/** @returns an answer, or why there is none */
function ask(signal: AbortSignal) {
  return async <T>(call: Promise<T>): Promise<T | SevbusError> => {
    const answer = await call.catch((thrown: unknown) => toSevbusError(thrown))
    signal.throwIfAborted()
    return answer
  }
}

async function preLiveMigration(
  { compute }: ConductorPorts,
  context: InstanceRecord['context'],
  instance: Instance,
  disks: LeftDisks,
  to: { readonly server: string; readonly signal: AbortSignal } | undefined,
): Promise<LiveMigrateData> {
  return (await compute.preLiveMigration(context, { instance, disks }, to)).migrate_data
}

/** Known before anything is made there, so that whatever takes the place of the move has it removed. */
async function goThere(ports: ConductorPorts, tx: Queryable, key: AttemptKey, { selection, encryption }: Place) {
  const record = await waiting(ports, tx, key)
  if (record === undefined) return false
  await placeAttempt(tx, key, selection)
  await noteDestination(tx, record.move.uuid, { host: selection.host, encryption }, ports.now())
  return true
}

async function send(
  ports: ConductorPorts,
  tx: Queryable,
  key: AttemptKey,
  there: Instance,
  migrate_data: LiveMigrateData,
): Promise<void> {
  const record = await waiting(ports, tx, key, there)
  if (record === undefined) return
  const { instance, context } = record
  const dest = there.host as string
  const events = ports.events.onBehalfOf(dest)
  await ports.outbox.enqueue(tx, [
    events.message('instance.live_migration_pre.start', context, instance),
    events.message('instance.live_migration_pre.end', context, instance),
  ])
  await beginLeaving(ports, tx, record, { name: 'live_migration', dest, migrate_data })
}

/** It cannot come there, or that host does not answer: the next one may. What it may have made goes. */
async function passOver(
  ports: ConductorPorts,
  tx: Queryable,
  key: AttemptKey,
  { selection }: Place,
  there: Instance,
  error: SevbusError,
): Promise<void> {
  const record = await waiting(ports, tx, key, there)
  if (record === undefined) return
  await placeAttempt(tx, key, selection)
  await ports.outbox.enqueue(tx, [rollbackLiveMessage(ports, there, record.move)])
  await failThere(ports, tx, record, there, error)
}

/** No other destination would help. */
async function cannotLeave(ports: ConductorPorts, tx: Queryable, key: AttemptKey, error: SevbusError): Promise<void> {
  const record = await waiting(ports, tx, key)
  if (record === undefined) return
  const { move } = record
  const fault = faultOf(error, ports.now().toISOString())
  const reason = `${fault.code}: ${fault.message}`.slice(0, 4000)
  await endAttempt(tx, key, { outcome: 'failed', reason }, ports.now())
  const back = await goBack(ports, tx, record, move, fault)
  await ports.outbox.enqueue(tx, [notTaken(ports, record, move, back, error)])
}

/**
 * Undefined: somebody was faster, and the claim goes back with what that does; of a deleted instance it goes back here.
 *
 * @param there what the destination may have made ready for
 */
async function waiting(
  ports: ConductorPorts,
  tx: Queryable,
  { uuid, attempt }: AttemptKey,
  there?: Instance,
): Promise<Waiting | undefined> {
  const record = await lockInstance(tx, uuid)
  const { instance, context, move } = record
  if (move !== undefined && isWaitingForHost(instance, attempt)) return { ...record, move }
  if (instance.vm_state === 'deleted') await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
  const isGoingThere = move?.status === 'accepted' && instance.attempt === attempt
  if (there !== undefined && !isGoingThere && move !== undefined) {
    await ports.outbox.enqueue(tx, [rollbackLiveMessage(ports, there, move)])
  }
  return undefined
}
