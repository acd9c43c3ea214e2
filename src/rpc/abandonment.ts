/**
 * Work that may be left alone, all of it at one moment: who waits for it is told, the work itself goes on. For hundreds
 * at a time, which would each have to listen to one AbortSignal.
 */
export class Abandonment {
  readonly #waiting = new Set<(reason: Error) => void>()
  #reason: Error | undefined

  /** The work's outcome, or the reason if that comes first. */
  race<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#reason !== undefined) reject(this.#reason)
      this.#waiting.add(reject)
      work.then(
        (result) => {
          this.#waiting.delete(reject)
          resolve(result)
        },
        (error: unknown) => {
          this.#waiting.delete(reject)
          reject(error)
        },
      )
    })
  }

  abandon(reason: Error): void {
    this.#reason = reason
    for (const reject of this.#waiting) reject(reason)
  }
}
