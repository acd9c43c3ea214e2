/** How a guest is asked to do something that only it can do, all in milliseconds. */
export interface GuestPatience {
  /** After so long it is done without it, or given up. */
  readonly timeoutMs: number
  /** So often it is asked again: a guest that boots hears nothing yet. */
  readonly askAgainMs: number
  /** So often it is looked at. */
  readonly lookMs: number
}

/** Nova's `shutdown_timeout` and SHUTDOWN_RETRY_INTERVAL. */
export const DEFAULT_SHUTDOWN: GuestPatience = { timeoutMs: 60_000, askAgainMs: 10_000, lookMs: 250 }

/** Nova's `device_detach_timeout`, eight times (`device_detach_attempts`). */
export const DEFAULT_UNPLUG: GuestPatience = { timeoutMs: 160_000, askAgainMs: 20_000, lookMs: 250 }
