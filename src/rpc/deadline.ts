import { MessagingTimeout } from '../errors.ts'

/** Node takes a longer one for 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * One limit over connecting, publishing and waiting. Ends with MessagingTimeout when the time is over, with the caller's
 * reason when the caller gave up, and at the end of the scope, so that nothing waits on.
 *
 * An AbortSignal costs more than the rest of a call that goes well, so there is one only when somebody asks for it.
 */
export class Deadline implements Disposable {
  readonly #what: string
  readonly #timeoutMs: number
  readonly #timer: NodeJS.Timeout
  readonly #caller: AbortSignal | undefined
  /** Mostly one: a Set would cost each call more than all the rest of this. */
  #onEnd: ((reason: unknown) => void)[] = []
  #onCallerAbort: (() => void) | undefined
  #controller: AbortController | undefined
  #ended: { readonly reason: unknown } | undefined

  /** @param what names the call in the error */
  constructor(what: string, timeoutMs: number, caller?: AbortSignal) {
    this.#what = what
    this.#timeoutMs = timeoutMs
    this.#caller = caller
    this.#timer = setTimeout(Deadline.#expire, Math.min(timeoutMs, MAX_TIMER_MS), this)
    if (caller !== undefined) this.#follow(caller)
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      this.onEnd((reason) => controller.abort(reason))
    }
    return this.#controller.signal
  }

  /** @throws the reason, when the time is over or the caller gave up */
  throwIfOver(): void {
    if (this.#ended !== undefined) throw this.#ended.reason
  }

  /** Called with the reason when the time is over or the caller gave up; at once when that was before. */
  onEnd(callback: (reason: unknown) => void): void {
    if (this.#ended === undefined) this.#onEnd.push(callback)
    else callback(this.#ended.reason)
  }

  /** The work's result, or the reason of the end. The work itself goes on. */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onEnd(reject)
      work.then(resolve, reject).finally(() => {
        this.#onEnd = this.#onEnd.filter((callback) => callback !== reject)
      })
    })
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    if (this.#onCallerAbort) this.#caller?.removeEventListener('abort', this.#onCallerAbort)
    this.#onEnd = []
    this.#controller?.abort()
  }

  /** Static, for a closure in each call would be one more for the garbage collector. */
  static #expire(deadline: Deadline): void {
    const [what, timeoutMs] = [deadline.#what, deadline.#timeoutMs]
    const fix = 'the work may still be done: look before you ask again'
    const facts = { what, timeout_ms: timeoutMs, fix }
    deadline.#end(new MessagingTimeout(`${what}: no reply within ${timeoutMs} ms`, facts))
  }

  #follow(caller: AbortSignal): void {
    if (caller.aborted) this.#end(caller.reason)
    this.#onCallerAbort = () => this.#end(caller.reason)
    caller.addEventListener('abort', this.#onCallerAbort)
  }

  #end(reason: unknown): void {
    if (this.#ended !== undefined) return
    this.#ended = { reason }
    const told = this.#onEnd
    this.#onEnd = []
    for (const callback of told) callback(reason)
  }
}
