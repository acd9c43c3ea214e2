import { abortable } from '../../rpc/abortable.ts'

interface Running<T> {
  readonly result: Promise<T>
  readonly stop: AbortController
  waiters: number
}

/** Work that several may wait for is done once at a time for each key. It is given up when nobody waits any more. */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>()

  /** @throws what the work throws, or the signal's reason, which ends only this wait */
  async do(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted()
    const current = this.#running.get(key)
    if (current?.stop.signal.aborted) {
      // It was given up, and ends soon: what it leaves must not meet what begins.
      await current.result.catch(() => {})
      return this.do(key, work, signal)
    }
    return this.#wait(current ?? this.#begin(key, work), signal)
  }

  /** Gives all of it up, and waits for its end. */
  async stop(): Promise<void> {
    const running = [...this.#running.values()]
    for (const { stop } of running) stop.abort()
    await Promise.allSettled(running.map(({ result }) => result))
  }

  #begin(key: string, work: (signal: AbortSignal) => Promise<T>): Running<T> {
    const stop = new AbortController()
    const result = work(stop.signal).finally(() => this.#running.delete(key))
    // Those who waited may all be gone when it fails.
    result.catch(() => {})
    const running = { result, stop, waiters: 0 }
    this.#running.set(key, running)
    return running
  }

  async #wait(running: Running<T>, signal: AbortSignal): Promise<T> {
    running.waiters++
    try {
      return await abortable(running.result, signal)
    } finally {
      running.waiters--
      if (running.waiters === 0) running.stop.abort()
    }
  }
}
