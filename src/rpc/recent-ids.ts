/** Python remembers the last 16 `_unique_id`s; remembering more is compatible, and catches more repeats. */
const GENERATION = 4096

/** The last ids handled, between one and two generations of them, to tell a repeat that the broker made. */
export class RecentIds {
  #young = new Set<string>()
  #old = new Set<string>()

  has(id: string): boolean {
    return this.#young.has(id) || this.#old.has(id)
  }

  /** @returns whether it was among them already */
  add(id: string): boolean {
    const { size } = this.#young
    this.#young.add(id)
    if (this.#young.size === size || this.#old.has(id)) return true
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young
      this.#young = new Set()
    }
    return false
  }
}
