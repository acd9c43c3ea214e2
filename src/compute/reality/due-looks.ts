/** Between two looks at a guest that cannot be judged yet, at most, in milliseconds. */
const MAX_PAUSE_MS = 30_000

export interface DueLooksOptions {
  readonly settleMs: number
  /** All guests are due so often; 0: only when asked for. */
  readonly intervalMs: number
}

/** Which guests are to be looked at, and when. */
export class DueLooks {
  readonly #options: DueLooksOptions
  /** By guest the time, in milliseconds by a clock that never jumps. */
  readonly #guests = new Map<string, number>()
  /** How long each waits that had to wait before. */
  readonly #pauses = new Map<string, number>()
  #allAt = Number.POSITIVE_INFINITY
  #wake: () => void = () => {}

  constructor(options: DueLooksOptions) {
    this.#options = options
  }

  /** Something has happened to it. */
  guest(uuid: string): void {
    this.#pauses.delete(uuid)
    this.#dueIn(this.#options.settleMs, uuid)
  }

  /** Once more, after a pause that grows each time. */
  later(uuid: string): void {
    const pauseMs = this.#pauses.get(uuid) ?? this.#options.settleMs
    this.#pauses.set(uuid, Math.min(MAX_PAUSE_MS, 2 * pauseMs))
    this.#dueIn(pauseMs, uuid)
  }

  /** It is as it should be. */
  settled(uuid: string): void {
    this.#pauses.delete(uuid)
    this.#guests.delete(uuid)
  }

  all(): void {
    this.#allAt = Math.min(this.#allAt, performance.now() + this.#options.settleMs)
    this.#wake()
  }

  /** Resolves when something is due, or the signal aborts. */
  async next(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const first = Math.min(this.#allAt, ...this.#guests.values())
      const waitMs = first - performance.now()
      if (waitMs <= 0) return
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = Number.isFinite(waitMs) ? setTimeout(wake, waitMs) : undefined
        signal.addEventListener('abort', wake, { once: true })
        this.#wake = wake
      })
    }
  }

  /** What is due now, which is not any more. */
  take(): 'all' | readonly string[] {
    const now = performance.now()
    if (this.#allAt <= now) {
      const { intervalMs } = this.#options
      this.#allAt = intervalMs > 0 ? now + intervalMs : Number.POSITIVE_INFINITY
      return 'all'
    }
    const due = [...this.#guests].filter(([, at]) => at <= now).map(([uuid]) => uuid)
    for (const uuid of due) this.#guests.delete(uuid)
    return due
  }

  /** The look failed. */
  again(looks: 'all' | readonly string[]): void {
    if (looks === 'all') this.all()
    else for (const uuid of looks) this.later(uuid)
  }

  #dueIn(ms: number, uuid: string): void {
    this.#guests.set(uuid, performance.now() + ms)
    this.#wake()
  }
}
