import { StaleAttempt } from '../../src/errors.ts'
import type { Instance } from '../../src/objects/instance.ts'

/** What a host says to the conductor. */
export type Told =
  | { readonly what: 'report_build'; readonly uuid: string; readonly attempt: number; readonly runs: boolean }
  | ({
      readonly what: 'report_action'
      readonly uuid: string
      readonly attempt: number
      readonly number: number
    } & Ended)
  | {
      readonly what: 'report_terminated'
      readonly uuid: string
      readonly attempt: number
      readonly migration_uuid?: string | undefined
    }

interface Ended {
  /** What the guest does after it. */
  readonly guest: 'running' | 'shutoff'
  readonly isDone: boolean
}

interface Known {
  readonly attempt: number
  readonly isGone: boolean
  /** Later tries that were here before it became the instance again. */
  readonly overThrough?: number
}

interface Termination {
  readonly isVoid: boolean
  readonly migration_uuid?: string | undefined
  readonly keepsDisksAside?: boolean | undefined
}

type Guest = Pick<Instance, 'uuid' | 'attempt'>

/** A host and its worker, as far as moves have to do with them: what runs there, and what its journal knows. */
export class DyingHost {
  readonly name: string
  /** Instances that have a guest here that runs, with the try that it is of. */
  readonly guests = new Map<string, number>()
  /** Those whose disks were set aside, and those that have theirs. */
  readonly aside = new Set<string>()
  readonly #disks = new Set<string>()
  /** Guests that may come as they run, with the try that they come as. */
  readonly #expected = new Map<string, number>()
  readonly #known = new Map<string, Known>()
  /** The last action of each, with how it ended. */
  readonly #ended = new Map<string, { readonly number: number; readonly attempt: number } & Ended>()
  isUp = true
  isFenced = false
  /** The next build, or part of a resize, fails. */
  failsNext = false

  constructor(name: string) {
    this.name = name
  }

  build({ uuid, attempt }: Guest): readonly Told[] {
    if (this.#isOver({ uuid, attempt })) return []
    const runs = !this.#fails()
    this.#known.set(uuid, { attempt, isGone: !runs })
    this.#ended.delete(uuid)
    if (runs) this.guests.set(uuid, attempt)
    else this.guests.delete(uuid)
    if (runs) this.#disks.add(uuid)
    else this.#disks.delete(uuid)
    return [{ what: 'report_build', uuid, attempt, runs }]
  }

  /** Its part of a resize: the guest goes off, and its disks are set aside. One that fails may have done half of it. */
  leave(guest: Guest, number: number): readonly Told[] {
    const { uuid } = guest
    return this.#act(guest, number, false, () => {
      const isHalfDone = this.#fails()
      this.guests.delete(uuid)
      if (!isHalfDone) {
        this.aside.add(uuid)
        this.#disks.delete(uuid)
      }
      return { isDone: !isHalfDone, guest: 'shutoff' }
    })
  }

  /** The guest goes off, and its disk becomes an image; what fails starts it again. */
  shelve(guest: Guest, number: number): readonly Told[] {
    return this.#act(guest, number, false, () => {
      if (this.#fails()) return { isDone: false, guest: this.guests.has(guest.uuid) ? 'running' : 'shutoff' }
      this.guests.delete(guest.uuid)
      return { isDone: true, guest: 'shutoff' }
    })
  }

  /** @throws when the try is over here */
  expect({ uuid, attempt }: Guest): void {
    const known = this.#known.get(uuid)
    if (known !== undefined && (attempt < known.attempt || (attempt === known.attempt && !this.#expected.has(uuid)))) {
      throw new StaleAttempt('it is over here')
    }
    this.#known.set(uuid, { attempt, isGone: false })
    this.#expected.set(uuid, attempt)
    this.#disks.add(uuid)
  }

  /** Its part of a live migration. One that fails has left all the same, or not. */
  send(guest: Guest, number: number, dest: DyingHost): readonly Told[] {
    const { uuid } = guest
    return this.#act(guest, number, false, () => {
      const isLost = this.#fails()
      const runs = this.guests.has(uuid)
      if (!runs || !dest.isUp || !dest.#expected.has(uuid))
        return { isDone: false, guest: runs ? 'running' : 'shutoff' }
      this.guests.delete(uuid)
      dest.guests.set(uuid, dest.#expected.get(uuid) as number)
      return { isDone: !isLost, guest: 'shutoff' }
    })
  }

  /** Has it come? */
  takeOver({ uuid, attempt }: Guest): readonly Told[] {
    const known = this.#known.get(uuid)
    const isExpected = this.#expected.get(uuid) === attempt
    if (known !== undefined && attempt <= known.attempt && !isExpected) return []
    const runs = isExpected && this.guests.has(uuid)
    this.#expected.delete(uuid)
    this.#ended.delete(uuid)
    this.#known.set(uuid, { attempt, isGone: !runs })
    if (!runs) this.#disks.delete(uuid)
    return [{ what: 'report_build', uuid, attempt, runs }]
  }

  comeBack(guest: Guest, number: number): readonly Told[] {
    return this.#act(guest, number, true, () => {
      if (this.aside.delete(guest.uuid)) this.#disks.add(guest.uuid)
      if (!this.#disks.has(guest.uuid)) return { isDone: false, guest: 'shutoff' }
      this.guests.set(guest.uuid, guest.attempt)
      const { attempt = 0, overThrough = 0 } = this.#known.get(guest.uuid) ?? {}
      const later = Math.max(attempt, overThrough)
      this.#known.set(guest.uuid, { attempt: guest.attempt, isGone: false, overThrough: later })
      return { isDone: true, guest: 'running' }
    })
  }

  terminate(
    { uuid, attempt }: Guest,
    { isVoid, migration_uuid, keepsDisksAside = false }: Termination,
  ): readonly Told[] {
    const known = this.#known.get(uuid)
    const isLater = attempt !== known?.attempt && this.#isOver({ uuid, attempt })
    if (isLater && migration_uuid === undefined) return []
    if (!isLater) {
      this.guests.delete(uuid)
      this.#disks.delete(uuid)
      this.#expected.delete(uuid)
      this.#ended.delete(uuid)
      this.#known.set(uuid, { attempt, isGone: true })
    }
    // Of an instance that was resized here, only what it had before goes.
    if (!keepsDisksAside) this.aside.delete(uuid)
    if (isVoid && migration_uuid === undefined) return []
    return [{ what: 'report_terminated', uuid, attempt, migration_uuid }]
  }

  #act({ uuid, attempt }: Guest, number: number, isReturn: boolean, work: () => Ended): readonly Told[] {
    const known = this.#known.get(uuid)
    const last = this.#ended.get(uuid)
    if (last?.number === number && last.attempt === attempt) return [{ what: 'report_action', uuid, ...last }]
    if (number <= (last?.number ?? 0)) return []
    if (known !== undefined && attempt < known.attempt && !(isReturn && known.isGone)) return []
    if (known?.attempt === attempt && known.isGone) return []
    const ended = { number, attempt, ...work() }
    this.#ended.set(uuid, ended)
    return [{ what: 'report_action', uuid, ...ended }]
  }

  #isOver({ uuid, attempt }: Guest): boolean {
    const known = this.#known.get(uuid)
    return known !== undefined && attempt <= Math.max(known.attempt, known.overThrough ?? 0)
  }

  #fails(): boolean {
    const fails = this.failsNext
    this.failsNext = false
    return fails
  }
}
