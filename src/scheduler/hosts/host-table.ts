import type { Allocation } from '../../objects/request-spec.ts'
import type { KnownHosts } from '../choosing/known-hosts.ts'
import type { HostState } from '../host-state.ts'
import type { InventoryUse } from '../placement/claim.ts'
import type { HostChanges, HostUse } from '../placement/feed.ts'
import { nameHash } from '../tie-break.ts'
import { ChangeLog } from './change-log.ts'
import { type Claim, withClaims } from './claimed-state.ts'
import { usedAsRead, withUse } from './host-use.ts'
import { forgetNews, madeWith, noteNews, type Place, withNews } from './place.ts'
import { isSameHost } from './same-host.ts'

/** A claim that is on its way to the database: the host counts as if it were made. */
export interface ClaimInFlight extends Claim {
  /** @param uses the inventories as they are with the claim, where that was told */
  made(uses?: readonly InventoryUse[]): void
  /** @param uses the inventories as they are without it, where that was told */
  failed(uses?: readonly InventoryUse[]): void
}

/** Signs of life are known apart. */
export interface LifeSigns {
  isUp(host: string): boolean
  lastSeenUp(host: string): Date | undefined
  secondsSilent(host: string): number | undefined
}

/** All hosts in memory. It may be stale: the claim decides. */
export class HostTable implements KnownHosts {
  nameHashes = new Int32Array(64)
  readonly #life: LifeSigns
  readonly #places: (Place | undefined)[] = []
  readonly #placeOf = new Map<string, number>()
  readonly #free: number[] = []
  /** Where claims are on their way, or have ended since the last reading began. */
  readonly #claimed = new Set<number>()
  #log = new ChangeLog()
  #told = 0

  constructor(life: LifeSigns) {
    this.#life = life
  }

  get places(): number {
    return this.#places.length
  }

  get changes(): number {
    return this.#log.changes
  }

  changedAfter(changes: number): Int32Array | undefined {
    return this.#log.after(changes)
  }

  placeOf(host: string): number | undefined {
    return this.#placeOf.get(host)
  }

  at(place: number): HostState | undefined {
    return this.#places[place]?.state
  }

  aged(place: number): HostState | undefined {
    const state = this.at(place)
    return state && this.#aged(state)
  }

  *filling(place: number): Iterable<HostState> {
    const held = this.#places[place]
    if (held === undefined) return
    let state = this.#aged(held.base)
    yield state
    for (const claim of held.claims) {
      state = withClaims(state, [claim])
      yield state
    }
  }

  /** By name, as they are now; all of them when none is named. */
  list(names?: readonly string[]): readonly HostState[] {
    const places = names === undefined ? [...this.#placeOf.values()] : names.map((name) => this.#placeOf.get(name))
    const states = places.flatMap((place) => (place === undefined ? [] : (this.at(place) ?? [])))
    return states.map((state) => this.#aged(state)).sort((a, b) => (a.host < b.host ? -1 : 1))
  }

  get size(): number {
    return this.#placeOf.size
  }

  /** How much ends of claims have told so far. */
  get told(): number {
    return this.#told
  }

  /**
   * Takes what was read from the database.
   *
   * @param told what claims had told when the reading began: what they told since may be newer
   * @returns hosts that are no more
   */
  apply({ hosts, uses, removed, complete }: HostChanges, told: number): readonly string[] {
    const gone = complete ? this.#othersThan(hosts) : removed
    for (const host of gone) this.#remove(host)
    for (const host of hosts) this.#put(host, told)
    for (const use of uses) this.#use(use, told)
    for (const place of this.#claimed) this.#forgetEnds(place, told)
    return gone
  }

  /** Takes over whether the host is up, as the signs of life say. */
  liveOrDie(host: string): void {
    const place = this.#placeOf.get(host)
    if (place !== undefined) this.#rebase(place, (this.#places[place] as Place).base)
  }

  begin(place: number, allocations: readonly Allocation[]): ClaimInFlight {
    const held = this.#places[place] as Place
    const begun = this.#told
    const end = (uses: readonly InventoryUse[], base: (held: Place) => HostState) => {
      held.claims.delete(claim)
      held.toldAt = ++this.#told
      if (this.#places[place] !== held) return
      noteNews(held, uses)
      this.#rebase(place, base(held))
    }
    const claim: ClaimInFlight = {
      allocations,
      // Where the use is not told, it is guessed: the next reading knows.
      made: (uses) =>
        end(uses ?? [], ({ base, readFrom }) =>
          uses ? madeWith(base, uses, readFrom > begun) : withClaims(base, [claim]),
        ),
      failed: (uses = []) => end(uses, ({ base }) => withUse(base, uses)),
    }
    held.claims.add(claim)
    this.#claimed.add(place)
    this.#rebase(place, held.base)
    return claim
  }

  /**
   * Hosts as they were when all were read, where claims are on their way or have ended since: what is known of them now is
   * of another moment than what is known of the others.
   *
   * @param own claims on their way that count all the same
   */
  asRead(own: readonly ClaimInFlight[] = []): readonly HostState[] {
    return [...this.#claimed].flatMap((place) => {
      const held = this.#places[place]
      if (held === undefined) return []
      const here = own.filter((claim) => held.claims.has(claim))
      return { ...withClaims(held.read, here), up: held.base.up }
    })
  }

  #put(read: HostState, told: number): void {
    const known = this.#placeOf.get(read.host)
    if (known !== undefined) {
      const held = this.#places[known] as Place
      held.readFrom = told + 1
      const base = withNews(read, held, told)
      const isNews = !isSameHost(base, held.base)
      // Mostly it is what our own claims have told already: whoever has looked at the host need not look again.
      held.read = base === read && !isNews ? held.base : read
      if (isNews) this.#rebase(known, base)
      return
    }
    const place = this.#free.pop() ?? this.#places.length
    this.#placeOf.set(read.host, place)
    this.#places[place] = { read, base: read, state: read, claims: new Set(), toldAt: 0, news: new Map(), readFrom: 0 }
    if (place >= this.nameHashes.length) this.#grow()
    this.nameHashes[place] = nameHash(read.host)
    this.#rebase(place, read)
  }

  #use(use: HostUse, told: number): void {
    const place = this.#placeOf.get(use.host)
    // One that is not there yet, or no more, is read whole.
    if (place !== undefined) this.#put(usedAsRead((this.#places[place] as Place).read, use), told)
  }

  #rebase(place: number, base: HostState): void {
    const held = this.#places[place] as Place
    const up = !base.forcedDown && this.#life.isUp(base.host)
    held.base = base.up === up ? base : { ...base, up }
    held.state = held.claims.size === 0 ? held.base : withClaims(held.base, held.claims)
    this.#log.add(place)
  }

  /** What ended before a reading began is in what was read, or was there before. */
  #forgetEnds(place: number, told: number): void {
    const held = this.#places[place] as Place
    forgetNews(held, told)
    if (held.toldAt > told) return
    held.read = held.base
    if (held.claims.size === 0) this.#claimed.delete(place)
  }

  #remove(host: string): void {
    const place = this.#placeOf.get(host)
    if (place === undefined) return
    this.#placeOf.delete(host)
    this.#claimed.delete(place)
    this.#places[place] = undefined
    this.#free.push(place)
    this.#log.add(place)
  }

  #othersThan(hosts: readonly HostState[]): readonly string[] {
    const names = new Set(hosts.map(({ host }) => host))
    return [...this.#placeOf.keys()].filter((host) => !names.has(host))
  }

  #grow(): void {
    // What is kept of each kind of request is as long as this.
    const grown = new Int32Array(Math.ceil(this.nameHashes.length * 1.25))
    grown.set(this.nameHashes)
    this.nameHashes = grown
  }

  #aged(state: HostState): HostState {
    const { host, lastSeenUp, secondsSinceSeen } = state
    return {
      ...state,
      lastSeenUp: this.#life.lastSeenUp(host) ?? lastSeenUp,
      secondsSinceSeen: this.#life.secondsSilent(host) ?? secondsSinceSeen,
    }
  }
}
