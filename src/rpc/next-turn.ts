/**
 * The next turn of the event loop, one for all who wait for it: what this one writes is in the hands of the operating
 * system then.
 */
export class NextTurn {
  #next: Promise<void> | undefined

  next(): Promise<void> {
    this.#next ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#next = undefined
        resolve()
      })
    })
    return this.#next
  }
}
