import type { SevbusError } from '../errors.ts'

interface Lane {
  readonly abort: AbortController
  readonly done: Promise<void>
}

/**
 * One piece of work at a time for each instance. Newer work interrupts what runs, waits until that has cleaned up, and
 * goes on.
 */
export class InstanceLanes {
  readonly #lanes = new Map<string, Lane>()
  readonly #onError: (error: unknown, uuid: string) => void

  /** @param onError hears of work that failed in a way it did not foresee */
  constructor(onError: (error: unknown, uuid: string) => void) {
    this.#onError = onError
  }

  /** @param interruption tells the work before, if any, why it ends */
  run(uuid: string, work: (signal: AbortSignal) => Promise<void>, interruption: SevbusError): void {
    const before = this.#lanes.get(uuid)
    before?.abort.abort(interruption)
    const abort = new AbortController()
    const done = (before?.done ?? Promise.resolve())
      .then(() => work(abort.signal))
      .catch((error: unknown) => this.#onError(error, uuid))
      .finally(() => {
        if (this.#lanes.get(uuid)?.abort === abort) this.#lanes.delete(uuid)
      })
    this.#lanes.set(uuid, { abort, done })
  }

  has(uuid: string): boolean {
    return this.#lanes.has(uuid)
  }

  /** Resolves when the work on it that is known now has ended. */
  async ended(uuid: string): Promise<void> {
    await this.#lanes.get(uuid)?.done
  }

  /** Resolves when no work is left. */
  async idle(): Promise<void> {
    while (this.#lanes.size > 0) await Promise.all([...this.#lanes.values()].map(({ done }) => done))
  }
}
