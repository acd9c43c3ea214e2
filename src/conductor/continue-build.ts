import { NoValidHost, SevbusError, StaleAttempt, toSevbusError } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import { SchedulingReport } from '../objects/scheduling-report.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { endAttempt, failedHosts, placeAttempt } from './attempt-store.ts'
import { changeInstance, findInstance, lockInstance } from './instance-store.ts'
import { buildMessage, releaseMessage } from './messages.ts'
import { pause } from './pause.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'

/** A scheduler that is away is asked again after so long, doubling up to the last. */
const ASK_AGAIN_MS = [200, 500, 1000, 2000, 5000]

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
  const answer = await askScheduler(ports, context, spec, signal).catch((thrown: unknown) => {
    if (signal.aborted) throw thrown
    return toSevbusError(thrown)
  })
  // Somebody was faster: a later try, or the deletion of the instance.
  if (answer instanceof StaleAttempt) return
  if (answer instanceof SevbusError) await refuse(ports, step, spec, answer)
  else await handOver(ports, step, answer)
  ports.outbox.announce()
}

function isWaitingForHost(instance: Instance, { attempt }: BuildStep): boolean {
  return instance.vm_state === 'building' && instance.task_state === 'scheduling' && instance.attempt === attempt
}

/** Asks until there is an answer: a scheduler that died, or is not there yet, is no reason to give up the instance. */
async function askScheduler(
  ports: ConductorPorts,
  context: RequestContext,
  spec: RequestSpec,
  signal: AbortSignal,
): Promise<Selection> {
  const giveUpAt = ports.now().getTime() + ports.buildTimeoutMs
  for (let tries = 0; ; tries++) {
    try {
      return (await ports.scheduler.selectDestinations(context, { request_spec: spec }, { signal })).selection
    } catch (thrown) {
      const error = toSevbusError(thrown)
      if (!error.retryable || signal.aborted || ports.now().getTime() >= giveUpAt) throw error
      ports.logger.warn(
        { instance_uuid: spec.instance_uuid, code: error.code, tries },
        `asking again: ${error.message}`,
      )
      await pause(ASK_AGAIN_MS[Math.min(tries, ASK_AGAIN_MS.length - 1)] as number, signal)
    }
  }
}

async function handOver(ports: ConductorPorts, step: BuildStep, selection: Selection): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, step.instance_uuid)
    if (!isWaitingForHost(instance, step)) {
      // Deleted while the scheduler thought: what it claimed goes back. A later try has its own claim.
      const claimIsOrphan = instance.vm_state === 'deleted' || instance.vm_state === 'error'
      if (claimIsOrphan) await ports.outbox.enqueue(tx, [releaseMessage(ports, context, instance)])
      return
    }
    const placed = await changeInstance(tx, instance, { host: selection.host, task_state: 'spawning' }, ports.now())
    await placeAttempt(tx, { uuid: instance.uuid, attempt: step.attempt }, selection)
    await ports.outbox.enqueue(tx, [buildMessage(ports, context, selection.host, placed)])
  })
}

/** No host: the instance is ERROR with the reason, and those who watch are told. */
async function refuse(ports: ConductorPorts, step: BuildStep, spec: RequestSpec, error: SevbusError): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context } = await lockInstance(tx, step.instance_uuid)
    if (!isWaitingForHost(instance, step)) return
    const at = ports.now()
    const fault = {
      code: error.code,
      message: error.message.slice(0, 4000),
      details: { ...error.details },
      created_at: at.toISOString(),
    }
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
