import type { Queryable } from '../database/database.ts'
import { NoValidHost, SevbusError, toSevbusError } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { Selection } from '../objects/request-spec.ts'
import { SchedulingReport } from '../objects/scheduling-report.ts'
import { type AttemptKey, endAttempt, placeAttempt } from './attempt-store.ts'
import { chosenEncryption } from './chosen-encryption.ts'
import { changeInstance, lockInstance } from './instance-store.ts'
import { buildMessage, releaseMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'

/** A host for an instance, with what the guest will run with there. */
export interface Place {
  readonly selection: Selection
  readonly encryption: MemEncryption | null
}

export function isWaitingForHost(instance: Instance, attempt: number): boolean {
  return instance.vm_state === 'building' && instance.task_state === 'scheduling' && instance.attempt === attempt
}

/** An answer that would not encrypt as asked is a refusal. */
export function placeOf(instance: Instance, found: Selection | SevbusError): Place | SevbusError {
  if (found instanceof SevbusError) return found
  try {
    return { selection: found, encryption: chosenEncryption(instance, found) }
  } catch (thrown) {
    return toSevbusError(thrown)
  }
}

export async function handOver(ports: ConductorPorts, tx: Queryable, key: AttemptKey, place: Place): Promise<void> {
  const { selection, encryption } = place
  const { instance, context } = await lockInstance(tx, key.uuid)
  if (!isWaitingForHost(instance, key.attempt)) {
    // Deleted while the scheduler thought: what it claimed goes back. A later try has its own claim.
    const claimIsOrphan = instance.vm_state === 'deleted' || instance.vm_state === 'error'
    if (claimIsOrphan) await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
    return
  }
  const changes = { host: selection.host, mem_encryption: encryption, task_state: 'spawning' } as const
  const placed = await changeInstance(tx, instance, changes, ports.now())
  await placeAttempt(tx, key, selection)
  await ports.outbox.enqueue(tx, [buildMessage(ports, context, selection.host, placed, selection.allocations)])
}

/** No host: the instance is ERROR with the reason, and those who watch are told. */
export async function refuse(
  ports: ConductorPorts,
  tx: Queryable,
  key: AttemptKey,
  error: SevbusError,
  ignoredHosts: readonly string[],
): Promise<void> {
  const { instance, context } = await lockInstance(tx, key.uuid)
  if (!isWaitingForHost(instance, key.attempt)) return
  const at = ports.now()
  const fault = faultOf(error, at.toISOString())
  const failed = await changeInstance(tx, instance, { vm_state: 'error', task_state: null, host: null, fault }, at)
  const report = SchedulingReport.safeParse(error.details.report).data
  const outcome = error instanceof NoValidHost ? 'no valid host' : 'failed'
  await endAttempt(tx, key, { outcome, reason: fault.message, report }, at)
  await ports.outbox.enqueue(tx, [
    ports.events.buildFailed(context, failed, requestSpec(instance, ignoredHosts), error),
    releaseMessage(ports, context, failed),
  ])
}
