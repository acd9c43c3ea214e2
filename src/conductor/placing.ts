import type { Queryable } from '../database/database.ts'
import { ComputeServiceInUse, NoValidHost, SevbusError, toSevbusError } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { Selection } from '../objects/request-spec.ts'
import { SchedulingReport } from '../objects/scheduling-report.ts'
import { cleanText } from '../objects/text.ts'
import { type AttemptKey, endAttempt, failuresOf, firstAttemptOf, placeAttempt } from './attempt-store.ts'
import { chosenEncryption } from './chosen-encryption.ts'
import { buildStarts } from './host-events.ts'
import { changed, changeInstance, type InstanceRecord, lockInstance } from './instance-store.ts'
import { asLeft, buildMessage, releaseMessage } from './messages.ts'
import { goBack, notTaken } from './moving.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'
import { asUnshelved, notBuilt } from './shelve/unshelve.ts'
import { isWaitingForHost, stagesOf } from './stages.ts'
import { userDataOf } from './user-data-store.ts'

/** A host for an instance, with what the guest will run with there. */
export interface Place {
  readonly selection: Selection
  readonly encryption: MemEncryption | null
}

/** An answer that would not encrypt as asked is a refusal. */
export function placeOf(record: InstanceRecord, found: Selection | SevbusError): Place | SevbusError {
  if (found instanceof SevbusError) return found
  try {
    return { selection: found, encryption: chosenEncryption(record.instance, found, record) }
  } catch (thrown) {
    return toSevbusError(thrown)
  }
}

/** The same as `handOver`, without locks. @returns false when somebody else was at the instance, and nothing is done */
export async function handOverAtOnce(ports: ConductorPorts, record: InstanceRecord, place: Place): Promise<boolean> {
  const { instance, context, version, move } = record
  if (version === undefined || move !== undefined) return false
  const { selection, encryption } = place
  const changes = { host: selection.host, mem_encryption: encryption, task_state: stagesOf(instance).onHost }
  const next = changed(instance, changes, ports.now())
  const userData = await userDataOf(ports.database, record)
  const told = [...ports.events.update(context, instance, next), ...buildStarts(ports, context, next)]
  const step = { record, next, outcome: 'spawning', selection } as const
  if (userData === undefined) return ports.steps.make({ ...step, messages: told, isOrdered: true })
  const order = buildMessage(ports, context, selection.host, next, selection.allocations, userData)
  return ports.steps.make({ ...step, messages: [...told, order] })
}

export async function handOver(ports: ConductorPorts, tx: Queryable, key: AttemptKey, place: Place): Promise<void> {
  const { selection, encryption } = place
  const record = await lockInstance(tx, key.uuid)
  const { instance, context } = record
  if (!isWaitingForHost(instance, key.attempt)) {
    // Deleted while the scheduler thought: what it claimed goes back. A later try has its own claim.
    const { vm_state, task_state } = instance
    const isOver = vm_state === 'shelved_offloaded' && task_state === null
    const claimIsOrphan = vm_state === 'deleted' || vm_state === 'error' || isOver
    if (claimIsOrphan) await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
    return
  }
  const changes = { host: selection.host, mem_encryption: encryption, task_state: stagesOf(instance).onHost }
  const placed = await changeInstance(ports, tx, { instance, context }, changes, ports.now())
  await placeAttempt(tx, key, selection)
  const userData = await userDataOf(tx, record)
  const there = asUnshelved(placed, record.shelving)
  const message = buildMessage(ports, context, selection.host, there, selection.allocations, userData)
  await ports.outbox.enqueue(tx, [
    ...existedBefore(ports, record, placed),
    ...buildStarts(ports, context, placed),
    message,
  ])
}

/** One that is evacuated, as it was on the host that is dead: told once, by the first that is to build it. */
function existedBefore({ events }: ConductorPorts, { context, move }: InstanceRecord, placed: Instance) {
  if (move?.type !== 'evacuation' || move.first_attempt !== placed.attempt) return []
  return [events.onBehalfOf(placed.host as string).existsSoFar(context, asLeft(placed, move))]
}

/** No host: the instance is ERROR with the reason, or where it was, and those who watch are told. */
export async function refuse(
  ports: ConductorPorts,
  tx: Queryable,
  key: AttemptKey,
  error: SevbusError,
  ignoredHosts: readonly string[],
): Promise<void> {
  const record = await lockInstance(tx, key.uuid)
  const { instance, context, move } = record
  if (!isWaitingForHost(instance, key.attempt)) return
  const at = ports.now()
  const refused = faultOf(error, at.toISOString())
  // What no host is left for has a reason on those where it was tried.
  const failures = await failuresOf(tx, instance.uuid, firstAttemptOf(record))
  const message = failures && `${refused.message}; it had failed on ${failures}`
  const fault = message === undefined ? refused : { ...refused, message: cleanText(message, 4000) }
  const report = SchedulingReport.safeParse(error.details.report).data
  await endAttempt(tx, key, { outcome: outcomeOf(error), reason: refused.message, report }, at)
  if (move !== undefined) {
    const back = await goBack(ports, tx, record, move, fault)
    return ports.outbox.enqueue(tx, [notTaken(ports, record, move, back, error, ignoredHosts)])
  }
  const failed = await changeInstance(ports, tx, { instance, context }, notBuilt(record, fault), at)
  await ports.outbox.enqueue(tx, [
    ports.events.buildFailed(context, failed, requestSpec(instance, ignoredHosts, record), error),
    releaseMessage(ports, context, failed),
  ])
}

function outcomeOf(error: SevbusError): 'no valid host' | 'aborted' | 'failed' {
  if (error instanceof NoValidHost) return 'no valid host'
  return error instanceof ComputeServiceInUse ? 'aborted' : 'failed'
}
