/** Which places changed, in their order; the oldest are forgotten. */
export class ChangeLog {
  #ring: Int32Array
  #changes = 0

  /** @param size how many changes it remembers; a power of 2 */
  constructor(size = 4096) {
    this.#ring = new Int32Array(size)
  }

  get changes(): number {
    return this.#changes
  }

  add(place: number): void {
    this.#ring[this.#changes % this.#ring.length] = place
    this.#changes++
  }

  /** @returns undefined when some of them are forgotten */
  after(changes: number): Int32Array | undefined {
    const size = this.#ring.length
    if (this.#changes - changes > size) return undefined
    const [from, to] = [changes % size, this.#changes % size]
    if (from < to || this.#changes === changes) return this.#ring.subarray(from, to)
    const wrapped = new Int32Array(size - from + to)
    wrapped.set(this.#ring.subarray(from))
    wrapped.set(this.#ring.subarray(0, to), size - from)
    return wrapped
  }
}
