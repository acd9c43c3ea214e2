import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'

/** Pauses before the next try, in milliseconds; the last one repeats. */
export const DEFAULT_RETRY_DELAYS_MS: readonly number[] = [500, 1000, 2000, 5000, 10_000]

export interface PatienceOptions {
  readonly logger: Logger
  readonly retryDelaysMs: readonly number[]
  /** On whose behalf, for the log. */
  readonly request_id?: string | undefined
}

/**
 * Does what must be done until it is done.
 *
 * @param what names it in the log
 * @throws the signal's reason
 */
export async function untilDone<T>(
  what: string,
  work: () => Promise<T>,
  { logger, retryDelaysMs, request_id }: PatienceOptions,
  signal: AbortSignal,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (thrown) {
      signal.throwIfAborted()
      const { code, message } = toSevbusError(thrown)
      const delayMs = retryDelaysMs[Math.min(tries, retryDelaysMs.length - 1)] ?? 0
      const facts = { what, code, tries: tries + 1, delayMs, request_id }
      logger.warn(facts, `${what} failed, trying again: ${message}`)
      await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }
}
