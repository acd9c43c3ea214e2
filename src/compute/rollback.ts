export interface UndoFailure {
  readonly step: string
  readonly error: unknown
}

/**
 * Undoes steps, newest first, at the end of a scope that did not commit. Register an undo *before* its step acts: the
 * step may die half done.
 *
 * @example
 * await using rollback = new Rollback(onUndoFailed)
 * rollback.add('remove disks', () => driver.removeDisks(uuid))
 * await driver.createDisks(domain, contents, signal)
 * rollback.commit()
 */
export class Rollback implements AsyncDisposable {
  readonly #onUndoFailed: (failure: UndoFailure) => void
  readonly #undos: { readonly step: string; readonly undo: () => Promise<void> }[] = []

  /** @param onUndoFailed hears of every undo that failed; the others run all the same */
  constructor(onUndoFailed: (failure: UndoFailure) => void) {
    this.#onUndoFailed = onUndoFailed
  }

  add(step: string, undo: () => Promise<void>): void {
    this.#undos.push({ step, undo })
  }

  /** All went well: forget the undos. */
  commit(): void {
    this.#undos.length = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { step, undo } of this.#undos.splice(0).reverse()) {
      try {
        await undo()
      } catch (error) {
        this.#onUndoFailed({ step, error })
      }
    }
  }
}
