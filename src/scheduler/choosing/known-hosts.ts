import type { HostState } from '../host-state.ts'

/** Hosts in places that they keep, and a log of which place changed: what it takes to look at a change only once. */
export interface KnownHosts {
  /** Places in use are below this. Grows only. */
  readonly places: number
  placeOf(host: string): number | undefined
  /** A new value after each change; undefined where no host is (any more). */
  at(place: number): HostState | undefined
  /** The same with its silence as of now: for words, and for whoever looks at that. */
  aged(place: number): HostState | undefined
  /** The same, first without any claim that is on its way, then with one more each time. */
  filling(place: number): Iterable<HostState>
  /** For ties; see `nameHash`. */
  readonly nameHashes: Int32Array
  /** How many changes there were. */
  readonly changes: number
  /** Places that changed after so many changes, some perhaps twice; undefined when that is forgotten: look at all. */
  changedAfter(changes: number): Iterable<number> | undefined
}
