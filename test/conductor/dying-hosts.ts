import type { Instance } from '../../src/objects/instance.ts'

/** What a host says to the conductor. */
export type Told =
  | { readonly what: 'report_build'; readonly uuid: string; readonly attempt: number; readonly runs: boolean }
  | {
      readonly what: 'report_terminated'
      readonly uuid: string
      readonly attempt: number
      readonly migration_uuid?: string | undefined
    }

interface Known {
  readonly attempt: number
  readonly isGone: boolean
}

/** A host and its worker, as far as evacuation has to do with them: what runs there, and what its journal knows. */
export class DyingHost {
  readonly name: string
  /** Instances that have a guest here, with the try that it is of. */
  readonly guests = new Map<string, number>()
  readonly #known = new Map<string, Known>()
  isUp = true
  isFenced = false
  /** The next build fails. */
  failsNext = false

  constructor(name: string) {
    this.name = name
  }

  build({ uuid, attempt }: Pick<Instance, 'uuid' | 'attempt'>): readonly Told[] {
    const known = this.#known.get(uuid)
    if (known !== undefined && attempt <= known.attempt) return []
    const runs = !this.failsNext
    this.failsNext = false
    this.#known.set(uuid, { attempt, isGone: !runs })
    if (runs) this.guests.set(uuid, attempt)
    else this.guests.delete(uuid)
    return [{ what: 'report_build', uuid, attempt, runs }]
  }

  terminate(
    { uuid, attempt }: Pick<Instance, 'uuid' | 'attempt'>,
    isVoid: boolean,
    migration_uuid?: string,
  ): readonly Told[] {
    const known = this.#known.get(uuid)
    const isLater = known !== undefined && known.attempt > attempt
    if (isLater && !(migration_uuid !== undefined && known.isGone)) return []
    if (!isLater) {
      this.guests.delete(uuid)
      this.#known.set(uuid, { attempt, isGone: true })
    }
    if (isVoid && migration_uuid === undefined) return []
    return [{ what: 'report_terminated', uuid, attempt, migration_uuid }]
  }
}
