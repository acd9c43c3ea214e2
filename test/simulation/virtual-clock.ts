interface Timer {
  readonly dueMs: number
  readonly run: () => void
}

/**
 * Time that passes only when it is told to. While it is in use, `setTimeout` goes by it: no timer of what is simulated
 * fires by itself, and the same run is the same each time.
 */
export class VirtualClock implements Disposable {
  #nowMs = 0
  /** In the order in which they were set. */
  readonly #timers = new Set<Timer>()
  readonly #real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout }

  constructor() {
    const set = (run: () => void, ms = 0) => {
      const timer = { dueMs: this.#nowMs + Math.max(ms, 0), run }
      this.#timers.add(timer)
      return timer
    }
    const clear = (timer: unknown) => this.#timers.delete(timer as Timer)
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear })
  }

  /** Milliseconds since it began; never goes back. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Runs what is due on the way, earliest first. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.run()
    }
    this.#nowMs = endMs
  }

  /** As when the machine was suspended: nothing ran in between, and all that is due runs at once, late. */
  jump(ms: number): void {
    this.#nowMs += ms
    this.advance(0)
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, this.#real)
  }

  #next(endMs: number): Timer | undefined {
    const due = [...this.#timers].filter(({ dueMs }) => dueMs <= endMs)
    return due.reduce<Timer | undefined>((first, one) => (first && first.dueMs <= one.dueMs ? first : one), undefined)
  }
}
