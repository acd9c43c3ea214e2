import type { HostState } from '../host-state.ts'
import type { KnownHosts } from './known-hosts.ts'

/** Answers about every host, kept true by looking again at those that changed. */
export abstract class Column {
  #seen: number | undefined
  #room = 0

  /** What it takes in memory. */
  abstract readonly bytes: number

  catchUp(hosts: KnownHosts): void {
    if (this.#seen === hosts.changes) return
    if (this.#room < hosts.places) {
      this.#room = hosts.nameHashes.length
      this.makeRoom(this.#room)
    }
    const changed = this.#seen === undefined ? undefined : hosts.changedAfter(this.#seen)
    if (changed !== undefined) {
      for (const place of changed) this.look(place, hosts.at(place))
    } else {
      for (let place = 0; place < hosts.places; place++) this.look(place, hosts.at(place))
    }
    this.#seen = hosts.changes
  }

  /** For so many places, keeping what there is. */
  protected abstract makeRoom(places: number): void

  /** Looks at one host and keeps the answer in its place. */
  protected abstract look(place: number, host: HostState | undefined): void
}

/** A longer one with the same values, and `blank` behind them. */
export function grown<V extends Uint8Array | Float64Array>(values: V, length: number, blank: number): V {
  const longer = new (values.constructor as new (length: number) => V)(length).fill(blank) as V
  longer.set(values)
  return longer
}
