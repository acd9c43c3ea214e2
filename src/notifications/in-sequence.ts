import { RecentIds } from '../rpc/recent-ids.ts'
import { type Identified, identityOf } from './identity.ts'
import { BEGINNING, type Position, type Positions } from './positions.ts'
import type { ReplaySource } from './replay.ts'
import { numberOf } from './sequence-number.ts'
import { SequencePass, type Step } from './sequence-pass.ts'

export interface InSequenceOptions<N> extends ReplaySource<N> {
  readonly positions: Positions
}

/** One of those that were handed on singly. */
export class HandlingFailed<N> extends Error {
  readonly notification: N
  /** When it is put aside: what comes after it goes on. It is handed on if it comes again. */
  readonly leaveOut: () => Promise<void>

  constructor(notification: N, leaveOut: () => Promise<void>, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.notification = notification
    this.leaveOut = leaveOut
  }
}

/**
 * Hands on each instance's notifications in their order, none left out and none twice. What is missing is asked for at once,
 * rather than waited for: it may be in another queue (errors are), or nowhere. So nothing has to be held back, and what comes
 * late was handled already, as its message id tells. One consumer at a time may do so with the same positions.
 *
 * The last ids are in memory: after a crash or a restart, what was handled may come again, late ones out of their order, with the
 * same message ids. Nothing is dropped for its number alone, which a restored database may give a second time.
 */
export class InSequence<N extends Identified> {
  readonly #options: InSequenceOptions<N>
  readonly #handled = new RecentIds()

  constructor(options: InSequenceOptions<N>) {
    this.#options = options
  }

  /**
   * @param handle is given what is to be handled; when it resolves with other than false, that counts as handled
   * @throws InvalidMessage for numbers that are none
   */
  async handle(batch: readonly N[], handle: (notifications: readonly N[]) => Promise<unknown>): Promise<void> {
    const { steps, known } = await this.#order(batch)
    if (steps.length > 0 && (await handle(steps.map(({ notification }) => notification))) === false) return
    await this.#note(steps, known)
    this.#remember(steps)
  }

  /** One at a time; what was handled before one that fails stays so. @throws HandlingFailed, and InvalidMessage as above */
  async handleEach(batch: readonly N[], handle: (notification: N) => Promise<unknown>): Promise<void> {
    const { steps, known } = await this.#order(batch)
    for (const step of steps) {
      const { notification } = step
      const handled = await handle(notification).catch((error: unknown) => {
        throw new HandlingFailed(notification, () => this.#note([step], known), error)
      })
      if (handled === false) return
      await this.#note([step], known)
      this.#remember([step])
    }
  }

  async #order(batch: readonly N[]) {
    const uuids = new Set(batch.flatMap((notification) => numberOf(notification)?.uuid ?? []))
    const known = new Map(await this.#options.positions.read([...uuids]))
    const pass = new SequencePass(this.#options, known, (identity) => this.#handled.has(identity))
    return { steps: await pass.order(batch), known }
  }

  async #note(steps: readonly Step<N>[], known: Map<string, Position>): Promise<void> {
    const moved = new Map<string, Position>()
    for (const { position } of steps) {
      if (position === undefined) continue
      const { uuid, ...reached } = position
      if (isSame(known.get(uuid), reached)) moved.delete(uuid)
      else moved.set(uuid, reached)
    }
    if (moved.size === 0) return
    await this.#options.positions.write(moved)
    for (const [uuid, position] of moved) known.set(uuid, position)
  }

  #remember(steps: readonly Step<N>[]): void {
    for (const { notification, position } of steps) {
      const identity = position && identityOf(notification)
      if (identity !== undefined) this.#handled.add(identity)
    }
  }
}

function isSame({ sequence, message_id }: Position = BEGINNING, other: Position): boolean {
  return sequence === other.sequence && message_id === other.message_id
}
