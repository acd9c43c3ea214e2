/**
 * A moment when what is written now is in the hands of the operating system; one for all who wait for it. What is
 * written leaves at the end of this turn of the event loop, so it is the one after the next.
 */
export class NextTurn {
  #next: Promise<void> | undefined

  next(): Promise<void> {
    this.#next ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#next = undefined
        setImmediate(resolve)
      })
    })
    return this.#next
  }
}
