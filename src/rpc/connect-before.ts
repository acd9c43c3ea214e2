import { TransportUnavailable } from '../errors.ts'
import type { Transport } from './transport.ts'

/** Where a broker is configured, and what to do when it is not there. */
export interface Wait {
  /** When its time is over the broker is not there; for any other reason its owner has given up. */
  readonly signal: AbortSignal
  /** What the transport said last of why it has no connection. */
  readonly reason: () => string | undefined
  readonly fix: string
}

/**
 * Waits for the broker no longer than the signal allows, and says then what it has waited for.
 * @throws TransportUnavailable when the time is over, the signal's reason when it is another, InvalidConfiguration
 */
export async function connectBefore(transport: Transport, { signal, reason, fix }: Wait): Promise<void> {
  const beganAt = performance.now()
  try {
    await transport.connect(signal)
  } catch (error) {
    if (error !== signal.reason || !isTimeout(error)) throw error
    const seconds = Math.round((performance.now() - beganAt) / 100) / 10
    const why = reason() ?? `${transport.description} does not answer`
    throw new TransportUnavailable(`${why} (waited ${seconds} s); ${fix}`, { fix })
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError'
}
