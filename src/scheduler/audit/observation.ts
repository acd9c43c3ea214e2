import type { DiskReport } from '../../objects/disk-report.ts'
import type { EncryptionKeys, GuestReport } from '../../objects/guest-report.ts'
import type { InstanceState } from '../../objects/instance.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { Migration } from '../../objects/request-spec.ts'

/** What one consumer has allocated on one host. */
export interface HeldClaim {
  /** The instance itself, or a move of it that still holds the host it leaves. */
  readonly consumer: string
  readonly instance: string
  /** Of a move; null: the consumer is the instance. */
  readonly migrationType: Migration['type'] | null
  readonly attempt: number
  readonly host: string
  /** Amounts by resource class; empty: the host is named and nothing of it is held. */
  readonly resources: Readonly<Record<string, number>>
  /** When the claim changed last. */
  readonly changedAt: string
}

/** What a host said of itself, or why nothing of it can be judged. */
export type HostLook =
  | {
      readonly answered: true
      readonly guests: readonly GuestReport[]
      /** Builds and terminations under way. */
      readonly busy: number
      readonly keys: EncryptionKeys | null
      /** Folders of disks that no guest there has for its own; undefined: its worker does not tell. */
      readonly disks?: readonly DiskReport[] | undefined
    }
  | { readonly answered: false; readonly reason: string }

export interface InventoryLook {
  readonly host: string
  readonly provider: string
  readonly resource_class: string
  /** Whose slots it counts. */
  readonly model: MemEncryptionModel | undefined
  readonly capacity: number
  readonly used: number
  readonly pinned: number
  /** Does what is used and pinned fit by placement's rules? */
  readonly fits: boolean
  readonly offered: boolean
  /** Sums over its allocations. */
  readonly allocated: number
  readonly allocated_pinned: number
}

/** All that an audit compares. */
export interface Observation {
  /** Hosts that findings are wanted of; `hosts` may have more, as evidence. */
  readonly scope: ReadonlySet<string>
  readonly hosts: ReadonlyMap<string, HostLook>
  readonly claims: readonly HeldClaim[]
  /** Each that a claim or guest names, deleted ones too, and those of the hosts. Undefined: no conductor answered. */
  readonly instances: ReadonlyMap<string, InstanceState> | undefined
  readonly inventories: readonly InventoryLook[]
}

export interface SeenGuest {
  readonly host: string
  readonly guest: GuestReport
}

/** The observation, to be asked by instance. */
export class Evidence {
  readonly seen: Observation
  readonly instances: ReadonlyMap<string, InstanceState>
  readonly #guests = new Map<string, SeenGuest[]>()
  readonly #claims = new Map<string, HeldClaim[]>()
  readonly #inventories = new Map<string, InventoryLook[]>()

  private constructor(seen: Observation) {
    this.seen = seen
    this.instances = seen.instances ?? new Map()
  }

  /** Stops for a moment after each thing, for who has other work. */
  static *of(seen: Observation): Generator<undefined, Evidence> {
    const evidence = new Evidence(seen)
    for (const [host, look] of seen.hosts) {
      if (!look.answered) continue
      for (const guest of look.guests) yield add(evidence.#guests, guest.uuid.toLowerCase(), { host, guest })
    }
    for (const claim of seen.claims) yield add(evidence.#claims, claim.instance, claim)
    for (const inventory of seen.inventories) yield add(evidence.#inventories, inventory.host, inventory)
    return evidence
  }

  /** May a finding be made of this host? */
  judges(host: string): boolean {
    return this.seen.scope.has(host) && this.answered(host)
  }

  answered(host: string): boolean {
    return this.seen.hosts.get(host)?.answered === true
  }

  guestsOf(uuid: string): readonly SeenGuest[] {
    return this.#guests.get(uuid) ?? []
  }

  guestOn(host: string, uuid: string): SeenGuest | undefined {
    return this.guestsOf(uuid).find((each) => each.host === host)
  }

  /** Every host that is known to have to do with it: what a second look must look at to see the same. */
  hostsOf(uuid: string): readonly string[] {
    const home = this.instances.get(uuid)?.host
    return [
      ...this.guestsOf(uuid).map(({ host }) => host),
      ...this.claimsOf(uuid).map(({ host }) => host),
      ...(home ? [home] : []),
    ]
  }

  inventoriesOf(host: string): readonly InventoryLook[] {
    return this.#inventories.get(host) ?? []
  }

  /** Guests of ours that nothing is claimed for on their host, by uuid. */
  unclaimedGuestsOn(host: string): readonly string[] {
    const look = this.seen.hosts.get(host)
    if (!look?.answered) return []
    return look.guests
      .map(({ uuid, attempt }) => ({ uuid: uuid.toLowerCase(), attempt }))
      .filter(({ uuid, attempt }) => attempt !== null || this.instances.has(uuid))
      .filter(({ uuid }) => !this.claimsOf(uuid).some((claim) => claim.host === host))
      .map(({ uuid }) => uuid)
  }

  claimsOf(uuid: string): readonly HeldClaim[] {
    return this.#claims.get(uuid) ?? []
  }

  /**
   * Is something being done to it now, by its conductor or by a host, or still to be told? Then it is in no state that could
   * be wrong: whoever does it brings it to an end, and a conductor revives what is not heard of.
   */
  isChanging(uuid: string): boolean {
    const instance = this.instances.get(uuid)
    if (instance?.messages_waiting || instance?.vm_state === 'building' || (instance?.task_state ?? null) !== null)
      return true
    return this.guestsOf(uuid).some(({ guest }) => guest.work !== null)
  }
}

function add<T>(map: Map<string, T[]>, key: string, value: T): undefined {
  const found = map.get(key)
  if (found) found.push(value)
  else map.set(key, [value])
}
