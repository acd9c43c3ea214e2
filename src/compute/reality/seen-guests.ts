import type { SeenGuestState } from '../../objects/guest-deviation.ts'
import type { Guest, VirtDriver } from '../virt-driver.ts'

/** More than so many are asked for in one question about all. */
const ONE_BY_ONE = 8

/** Guests as they were at one look. */
export class SeenGuests {
  readonly #states: ReadonlyMap<string, SeenGuestState>

  constructor(guests: readonly Guest[]) {
    this.#states = new Map(guests.map(({ uuid, state }) => [uuid, state]))
  }

  get uuids(): readonly string[] {
    return [...this.#states.keys()]
  }

  stateOf(uuid: string): SeenGuestState {
    return this.#states.get(uuid) ?? 'missing'
  }
}

/** @param uuids of these; undefined: of all that the host has */
export async function seenGuests(
  driver: Pick<VirtDriver, 'guest' | 'guests'>,
  uuids: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<SeenGuests> {
  if (uuids === undefined || uuids.length > ONE_BY_ONE) return new SeenGuests(await driver.guests(signal))
  const found = await Promise.all(uuids.map((uuid) => driver.guest(uuid, signal)))
  return new SeenGuests(found.filter((guest) => guest !== undefined))
}
