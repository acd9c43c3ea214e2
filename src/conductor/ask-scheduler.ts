import { type SevbusError, StaleAttempt, toSevbusError } from '../errors.ts'
import { pause } from '../rpc/abortable.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type AttemptKey, attemptStartedAt } from './attempt-store.ts'
import { lockInstance } from './instance-store.ts'
import { continueBuildMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { isOnItsHost, isWaitingForHost } from './stages.ts'

/** A scheduler that does not answer is asked again after so long, in milliseconds, … */
const ASK_AGAIN_MS = [200, 500]
/** … and then by another message, so that builds that wait leave room for what does not. */
const LOOK_AGAIN_MS = 2000

/**
 * One that died is noticed by its silence and asked again: a try is always answered alike.
 * @throws only when the worker is stopping
 */
export async function askScheduler<T>(
  { logger }: ConductorPorts,
  { request_id }: RequestContext,
  { uuid }: AttemptKey,
  ask: () => Promise<T>,
  signal: AbortSignal,
): Promise<T | SevbusError> {
  for (let tries = 0; ; tries++) {
    try {
      return await ask()
    } catch (thrown) {
      signal.throwIfAborted()
      const error = toSevbusError(thrown)
      const delayMs = ASK_AGAIN_MS[tries]
      if (!error.retryable || delayMs === undefined) return error
      const facts = { instance_uuid: uuid, code: error.code, tries, request_id }
      logger.warn(facts, `asking again: ${error.message}`)
      await pause(delayMs, signal)
    }
  }
}

/** A scheduler that is not there yet is no reason to give up an instance; that there is none for too long is. */
export async function isWorthAnotherLook(ports: ConductorPorts, key: AttemptKey, error: SevbusError): Promise<boolean> {
  // A move that is stale waits for an earlier one of the instance, whose end has not reached the scheduler.
  if (!error.retryable && !(error instanceof StaleAttempt)) return false
  const startedAt = await attemptStartedAt(ports.database, key)
  return ports.now().getTime() - startedAt.getTime() < ports.buildTimeoutMs
}

export async function lookAgain(ports: ConductorPorts, { uuid, attempt }: AttemptKey): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance, context, move } = await lockInstance(tx, uuid)
    const isArriving = isOnItsHost(instance) && instance.attempt === attempt && move !== undefined
    if (!isWaitingForHost(instance, attempt) && !isArriving) return
    await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, instance)], { delayMs: LOOK_AGAIN_MS })
  })
}
