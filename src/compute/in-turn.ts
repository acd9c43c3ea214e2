import type { Limiter } from '../rpc/limiter.ts'

/**
 * Runs work when the limiter lets it; gives up waiting at once when the signal aborts. Work that has begun is waited
 * for: to stop it is its own business.
 *
 * @throws the signal's reason, or what the work throws
 */
export function inTurn(limiter: Limiter, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal.reason)
    if (signal.aborted) return giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    void limiter.run(async () => {
      signal.removeEventListener('abort', giveUp)
      if (signal.aborted) return giveUp()
      await work().then(resolve, reject)
    })
  })
}
