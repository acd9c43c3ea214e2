import { NoValidHost, SevbusError, StaleAttempt, toSevbusError } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import { SchedulingReport } from '../objects/scheduling-report.ts'
import { pause } from '../rpc/abortable.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { attemptStartedAt, endAttempt, failedHosts, placeAttempt } from './attempt-store.ts'
import { chosenEncryption } from './chosen-encryption.ts'
import { changeInstance, findInstance, lockInstance } from './instance-store.ts'
import { buildMessage, continueBuildMessage, releaseMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'

/** A scheduler that does not answer is asked again after so long, in milliseconds, … */
const ASK_AGAIN_MS = [200, 500]
/** … and then by another message, so that builds that wait leave room for what does not. */
const LOOK_AGAIN_MS = 2000

export interface BuildStep {
  readonly instance_uuid: string
  readonly attempt: number
}

/**
 * Takes a stored build to its host. Delivered twice, or by two conductors, it does nothing twice: the scheduler answers
 * one try always alike, and the row says how far the build is.
 */
export async function continueBuild(ports: ConductorPorts, step: BuildStep, signal: AbortSignal): Promise<void> {
  const { instance, context } = await findInstance(ports.database, step.instance_uuid)
  if (!isWaitingForHost(instance, step)) return
  const spec = requestSpec(instance, await failedHosts(ports.database, instance.uuid))
  const answer = await askScheduler(ports, context, spec, signal).then((found) => withEncryption(instance, found))
  // Somebody was faster: a later try, or the deletion of the instance.
  if (answer instanceof StaleAttempt) return
  if (!(answer instanceof SevbusError)) await handOver(ports, step, answer.selection, answer.encryption)
  else if (answer.retryable && !(await isOverdue(ports, step))) await lookAgain(ports, step)
  else await refuse(ports, step, spec, answer)
  ports.outbox.announce()
}

function isWaitingForHost(instance: Instance, { attempt }: BuildStep): boolean {
  return instance.vm_state === 'building' && instance.task_state === 'scheduling' && instance.attempt === attempt
}

/**
 * One that died is noticed by its silence and asked again: a try is always answered alike.
 * @throws only when the worker is stopping
 */
async function askScheduler(
  ports: ConductorPorts,
  context: RequestContext,
  spec: RequestSpec,
  signal: AbortSignal,
): Promise<Selection | SevbusError> {
  for (let tries = 0; ; tries++) {
    try {
      return (await ports.scheduler.selectDestinations(context, { request_spec: spec }, { signal })).selection
    } catch (thrown) {
      signal.throwIfAborted()
      const error = toSevbusError(thrown)
      const delayMs = ASK_AGAIN_MS[tries]
      if (!error.retryable || delayMs === undefined) return error
      const { request_id } = context
      const facts = { instance_uuid: spec.instance_uuid, code: error.code, tries, request_id }
      ports.logger.warn(facts, `asking again: ${error.message}`)
      await pause(delayMs, signal)
    }
  }
}

/** The host with what the guest will run with there; an answer that would not encrypt as asked is a refusal. */
function withEncryption(instance: Instance, found: Selection | SevbusError) {
  if (found instanceof SevbusError) return found
  try {
    return { selection: found, encryption: chosenEncryption(instance, found) }
  } catch (thrown) {
    return toSevbusError(thrown)
  }
}

/** A scheduler that is not there yet is no reason to give up an instance; that there is none for too long is. */
async function isOverdue(ports: ConductorPorts, { instance_uuid: uuid, attempt }: BuildStep): Promise<boolean> {
  const startedAt = await attemptStartedAt(ports.database, { uuid, attempt })
  return ports.now().getTime() - startedAt.getTime() >= ports.buildTimeoutMs
}

async function lookAgain(ports: ConductorPorts, step: BuildStep): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, step.instance_uuid)
    if (!isWaitingForHost(instance, step)) return
    await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, instance)], { delayMs: LOOK_AGAIN_MS })
  })
}

async function handOver(
  ports: ConductorPorts,
  step: BuildStep,
  selection: Selection,
  encryption: MemEncryption | null,
): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, step.instance_uuid)
    if (!isWaitingForHost(instance, step)) {
      // Deleted while the scheduler thought: what it claimed goes back. A later try has its own claim.
      const claimIsOrphan = instance.vm_state === 'deleted' || instance.vm_state === 'error'
      if (claimIsOrphan) await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
      return
    }
    const changes = { host: selection.host, mem_encryption: encryption, task_state: 'spawning' } as const
    const placed = await changeInstance(tx, instance, changes, ports.now())
    await placeAttempt(tx, { uuid: instance.uuid, attempt: step.attempt }, selection)
    await ports.outbox.enqueue(tx, [buildMessage(ports, context, selection.host, placed, selection.allocations)])
  })
}

/** No host: the instance is ERROR with the reason, and those who watch are told. */
async function refuse(ports: ConductorPorts, step: BuildStep, spec: RequestSpec, error: SevbusError): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, step.instance_uuid)
    if (!isWaitingForHost(instance, step)) return
    const at = ports.now()
    const fault = faultOf(error, at.toISOString())
    const failed = await changeInstance(tx, instance, { vm_state: 'error', task_state: null, host: null, fault }, at)
    const report = SchedulingReport.safeParse(error.details.report).data
    const outcome = error instanceof NoValidHost ? 'no valid host' : 'failed'
    await endAttempt(tx, { uuid: instance.uuid, attempt: step.attempt }, { outcome, reason: fault.message, report }, at)
    await ports.outbox.enqueue(tx, [
      ports.events.buildFailed(context, failed, spec, error),
      releaseMessage(ports, context, failed),
    ])
  })
}
