import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { HypervisorTimeout, type SevbusError, toSevbusError } from '../errors.ts'

/** Pauses before the next try, in milliseconds; the last one repeats. */
export const DEFAULT_RETRY_DELAYS_MS: readonly number[] = [500, 1000, 2000, 5000, 10_000]

export interface PatienceOptions {
  readonly logger: Logger
  readonly retryDelaysMs: readonly number[]
  /** On whose behalf, for the log. */
  readonly request_id?: string | undefined
  /** Says which failures may pass; without it all. */
  readonly isWorthAnotherTry?: (error: SevbusError) => boolean
}

/** Of a failure of the hypervisor: nobody knows what it would have said. */
export function doesNotAnswer(error: SevbusError): boolean {
  return error.isOutage || error.code === HypervisorTimeout.code
}

/**
 * Does what must be done until it is done.
 *
 * @param what names it in the log
 * @throws the signal's reason, or what is not worth another try
 */
export async function untilDone<T>(
  what: string,
  work: () => Promise<T>,
  { logger, retryDelaysMs, request_id, isWorthAnotherTry = () => true }: PatienceOptions,
  signal: AbortSignal,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (thrown) {
      signal.throwIfAborted()
      const error = toSevbusError(thrown)
      if (!isWorthAnotherTry(error)) throw thrown
      const { code, message } = error
      const delayMs = retryDelaysMs[Math.min(tries, retryDelaysMs.length - 1)] ?? 0
      const facts = { what, code, tries: tries + 1, delayMs, request_id }
      logger.warn(facts, `${what} failed, trying again: ${message}`)
      await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }
}
