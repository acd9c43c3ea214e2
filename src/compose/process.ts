import type { Logger } from 'pino'
import type { Worker } from './worker.ts'

/** Exit code of a process that a second signal ended before its work was done. */
const EXIT_FORCED = 130

/**
 * An abort signal for SIGTERM and SIGINT. A second one ends the process at once: what was begun is in the journal, the
 * queue or the database, and goes on at the next start.
 */
export function onTermination(say: (text: string) => void): AbortSignal {
  const stop = new AbortController()
  const receive = (name: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(EXIT_FORCED)
    say(`${name}: finishing what runs; once more ends at once`)
    stop.abort(new Error(name))
  }
  process.on('SIGTERM', receive)
  process.on('SIGINT', receive)
  return stop.signal
}

/**
 * Serves until the signal, then drains. Resolves when everything is closed.
 * @throws what broke the worker, after the drain: whoever started it starts it again
 */
export async function serveUntil(signal: AbortSignal, worker: Worker, graceMs: number, logger: Logger): Promise<void> {
  const failure = await aborted(signal, worker.broken).then(
    () => undefined,
    (error: unknown) => ({ error }),
  )
  logger.info({ grace_ms: graceMs }, `${worker.name} is draining`)
  await worker.drain(graceMs)
  logger.info(`${worker.name} has stopped`)
  if (failure !== undefined) throw failure.error
}

/**
 * Resolves at the abort; keeps the process alive until then.
 * @throws as `unless` does, if that comes first
 */
export async function aborted(signal: AbortSignal, unless: Promise<never> = new Promise(() => {})): Promise<void> {
  if (signal.aborted) return
  const alive = setInterval(() => {}, 60_000)
  const abort = new Promise((resolve) => signal.addEventListener('abort', resolve))
  await Promise.race([abort, unless]).finally(() => clearInterval(alive))
}
