import type { Column } from './column.ts'

/** Columns by what they are about; those that were not used for longest go when there is no room. */
export class ColumnCache {
  readonly #columns = new Map<string, Column>()
  /** How often those in use were asked for since somebody used this one. */
  readonly #idle = new WeakMap<Column, number>()
  readonly #maxBytes: number
  #isNew = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The column of this key, made when there is none. One key is always asked for with one kind of column. */
  get<C extends Column>(key: string, make: () => C): C {
    const known = this.#columns.get(key) as C | undefined
    const column = known ?? make()
    // A map keeps its keys in the order in which they were set: the one in use goes to the end.
    if (known !== undefined) this.#columns.delete(key)
    else this.#isNew = true
    this.#columns.set(key, column)
    this.#idle.set(column, 0)
    return column
  }

  /** Those that were used since `calls` calls of this, the last one first. */
  inUse(calls: number): readonly Column[] {
    const columns = [...this.#columns.values()].reverse()
    return columns.filter((column) => {
      const idle = (this.#idle.get(column) ?? 0) + 1
      this.#idle.set(column, idle)
      return idle <= calls
    })
  }

  /** Forgets what does not fit, but never the `kept` that were used last. */
  shrink(kept: number): void {
    if (!this.#isNew) return
    this.#isNew = false
    let bytes = 0
    for (const [key, column] of this.#columns) bytes += column.bytes + 2 * key.length
    for (const [key, column] of this.#columns) {
      if (bytes <= this.#maxBytes || this.#columns.size <= kept) return
      bytes -= column.bytes + 2 * key.length
      this.#columns.delete(key)
    }
  }

  get size(): number {
    return this.#columns.size
  }
}
