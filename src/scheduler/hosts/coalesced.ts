/**
 * Work that is worth doing once for all who ask at a time. Who asks while it runs gets the next run: what was begun
 * before the question may not know the answer.
 */
export class Coalesced {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  run(): Promise<void> {
    if (this.#running === undefined) return this.#begin()
    this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<void> {
    this.#next = undefined
    const run = this.#work()
    this.#running = run
    const ended = () => {
      if (this.#running === run) this.#running = undefined
    }
    run.then(ended, ended)
    return run
  }
}
