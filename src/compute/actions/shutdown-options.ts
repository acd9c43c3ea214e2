/** How a guest is asked to shut down, all in milliseconds. */
export interface ShutdownOptions {
  /** After so long its power is taken. */
  readonly timeoutMs: number
  /** So often it is asked again: a guest that boots hears nothing yet. */
  readonly askAgainMs: number
  /** So often it is looked at. */
  readonly lookMs: number
}

/** Nova's `shutdown_timeout` and SHUTDOWN_RETRY_INTERVAL. */
export const DEFAULT_SHUTDOWN: ShutdownOptions = { timeoutMs: 60_000, askAgainMs: 10_000, lookMs: 250 }
