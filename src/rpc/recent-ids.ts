/** Python remembers the last 16 `_unique_id`s; remembering more is compatible, and catches more repeats. */
const WINDOW = 4096

/** The last ids handled, to tell a repeat that the broker made; forgets the oldest. */
export class RecentIds {
  readonly #ids = new Set<string>()

  has(id: string): boolean {
    return this.#ids.has(id)
  }

  add(id: string): void {
    this.#ids.add(id)
    if (this.#ids.size <= WINDOW) return
    for (const oldest of this.#ids) {
      this.#ids.delete(oldest)
      break
    }
  }
}
