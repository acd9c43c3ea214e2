import type { HostState } from '../host-state.ts'
import type { KnownHosts } from './known-hosts.ts'

/** One answer about every host, kept true by looking again at those that changed. */
export abstract class Column<V extends Uint8Array | Float64Array> {
  values: V
  readonly #blank: number
  #seen: number | undefined

  /** @param blank stands where no host has been looked at */
  constructor(empty: V, blank: number) {
    this.values = empty
    this.#blank = blank
  }

  get bytes(): number {
    return this.values.byteLength
  }

  catchUp(hosts: KnownHosts): void {
    if (this.#seen === hosts.changes) return
    if (this.values.length < hosts.places) this.#grow(hosts.nameHashes.length)
    const changed = this.#seen === undefined ? undefined : hosts.changedAfter(this.#seen)
    if (changed !== undefined) {
      for (const place of changed) this.look(place, hosts.at(place))
    } else {
      for (let place = 0; place < hosts.places; place++) this.look(place, hosts.at(place))
    }
    this.#seen = hosts.changes
  }

  /** Looks at one host and keeps the answer in its place. */
  protected abstract look(place: number, host: HostState | undefined): void

  #grow(places: number): void {
    const grown = new (this.values.constructor as new (length: number) => V)(places).fill(this.#blank) as V
    grown.set(this.values)
    this.values = grown
  }
}
