import { setMaxListeners } from 'node:events'
import { MessagingTimeout } from '../errors.ts'
import { abortable } from './abortable.ts'

/**
 * One limit over connecting, publishing and waiting. Its signal aborts with MessagingTimeout when the time is over,
 * with the caller's reason when the caller gave up, and at the end of the scope, so that nothing waits on.
 */
export class Deadline implements Disposable {
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined
  readonly #onCallerAbort = () => this.#controller.abort(this.#caller?.reason)

  /** @param what names the call in the error */
  constructor(what: string, timeoutMs: number, caller?: AbortSignal) {
    this.signal = this.#controller.signal
    // A batch of messages may share one; Node takes more than ten listeners for a leak.
    setMaxListeners(0, this.signal)
    this.#caller = caller
    this.#timer = setTimeout(() => {
      const fix = 'the work may still be done: look before you ask again'
      const facts = { what, timeout_ms: timeoutMs, fix }
      this.#controller.abort(new MessagingTimeout(`${what}: no reply within ${timeoutMs} ms`, facts))
    }, timeoutMs)
    if (caller?.aborted) this.#onCallerAbort()
    caller?.addEventListener('abort', this.#onCallerAbort)
  }

  /** The work's result, or the reason of the end. The work itself goes on. */
  race<T>(work: Promise<T>): Promise<T> {
    return abortable(work, this.signal)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#onCallerAbort)
    this.#controller.abort()
  }
}
