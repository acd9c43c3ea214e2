import { type Identified, identityOf } from './identity.ts'
import { BEGINNING, type Position } from './positions.ts'
import type { Replayed, ReplaySource } from './replay.ts'
import { type Numbered, numberOf } from './sequence-number.ts'

/** What is to be handled next, and how far it is with its instance then. */
export interface Step<N> {
  readonly notification: N
  /** Absent: it has no number. */
  readonly position?: Position & { readonly uuid: string }
}

interface InHand<N> extends Numbered {
  readonly notification: N
}

/** Puts one batch in order. It takes as many steps as there are notifications, whatever their numbers are. */
export class SequencePass<N extends Identified> {
  readonly #options: ReplaySource<N>
  readonly #last: Map<string, Position>
  readonly #wasHandled: (identity: string) => boolean
  /** Of which instances the position was looked at by a conductor in this pass, and to what number they have counted. */
  readonly #counted = new Map<string, number>()
  readonly #put = new Set<string>()
  readonly #steps: Step<N>[] = []

  /** @param last how far it is with the instances of the batch */
  constructor(
    options: ReplaySource<N>,
    last: ReadonlyMap<string, Position>,
    wasHandled: (identity: string) => boolean,
  ) {
    this.#options = options
    this.#last = new Map(last)
    this.#wasHandled = wasHandled
  }

  async order(batch: readonly N[]): Promise<readonly Step<N>[]> {
    const inHand = batch.map((notification) => ({ notification, numbered: numberOf(notification) }))
    const waiting = new Map<string, InHand<N>[]>()
    for (const { notification, numbered } of inHand) {
      if (numbered === undefined) continue
      const ofInstance = waiting.get(numbered.uuid) ?? []
      waiting.set(numbered.uuid, ofInstance)
      ofInstance.push({ ...numbered, notification })
    }
    // From the end, where an array is short of its last one at no cost.
    for (const all of waiting.values()) all.reverse().sort((a, b) => b.sequence - a.sequence)
    for (const { notification, numbered } of inHand) {
      if (numbered === undefined) this.#steps.push({ notification })
      else await this.#takeUpTo(numbered.sequence, waiting.get(numbered.uuid) as InHand<N>[])
    }
    return this.#steps
  }

  async #takeUpTo(sequence: number, waiting: InHand<N>[]): Promise<void> {
    for (let next = waiting.at(-1); next !== undefined && next.sequence <= sequence; next = waiting.at(-1)) {
      waiting.pop()
      await this.#take(next)
    }
  }

  async #take(next: InHand<N>): Promise<void> {
    const { notification, uuid, sequence } = next
    const last = this.#last.get(uuid) ?? BEGINNING
    if (sequence === last.sequence + 1) return this.#step(notification, uuid, positionOf(next))
    if (sequence > last.sequence) return this.#takeAfterGap(next, last)
    if (this.#isKnown(notification)) return
    // Late, or numbered after a count that began again lower: only what has the same id is the same.
    if (await this.#isGivenAgain(next, last)) await this.#takeAfterReset(next, last)
    else this.#step(notification, uuid, last)
  }

  async #takeAfterGap(next: InHand<N>, last: Position): Promise<void> {
    const { notification, uuid, sequence } = next
    const gap = { instance_uuid: uuid, from: last.sequence + 1, to: sequence - 1 }
    // With the one before, where there is one, to see whether it is still the one that was handled.
    const replayed = await this.#options.replay({ ...gap, from: Math.max(last.sequence, 1) })
    if (this.#isAnother(uuid, last, replayed)) return this.#takeAfterReset(next, last)
    const { last_sequence } = replayed
    if (last_sequence < sequence) await this.#tellCountedBack(uuid, sequence, last_sequence)
    const found = replayed.notifications.filter((each) => (numberOf(each) as Numbered).sequence >= gap.from)
    await this.#takeReplayed(found, { ...gap, to: Math.min(gap.to, last_sequence) })
    // A number that nobody gave moves nothing: what will get it is handled as well.
    const isCounted = sequence <= last_sequence
    this.#step(notification, uuid, isCounted ? positionOf(next) : { sequence: last_sequence, message_id: null })
  }

  /** Which numbers were given twice nobody knows, so all is taken that is kept and was not handled just now. */
  async #takeAfterReset(next: InHand<N>, last: Position): Promise<void> {
    const { notification, uuid, sequence } = next
    const counted = this.#counted.get(uuid) as number
    await this.#tellCountedBack(uuid, Math.max(last.sequence, sequence), counted)
    const to = Math.min(sequence, counted)
    const again = to < 1 ? [] : (await this.#options.replay({ instance_uuid: uuid, from: 1, to })).notifications
    for (const each of again)
      if (!this.#isKnown(each))
        this.#step(each, uuid, positionOf({ ...(numberOf(each) as Numbered), notification: each }))
    if (!this.#put.has(identityOf(notification) ?? ''))
      this.#step(notification, uuid, { sequence: to, message_id: this.#idOf(again, to) })
    // It may be of before, and then the number that it has is another's by now.
    else this.#last.set(uuid, { sequence: to, message_id: this.#idOf(again, to) })
  }

  async #takeReplayed(found: readonly N[], gap: { instance_uuid: string; from: number; to: number }): Promise<void> {
    const { onLost = async () => {} } = this.#options
    let next = gap.from
    for (const notification of found) {
      const numbered = numberOf(notification) as Numbered
      const { uuid, sequence } = numbered
      if (sequence > next) await onLost({ ...gap, from: next, to: sequence - 1 })
      this.#step(notification, uuid, positionOf({ ...numbered, notification }))
      next = sequence + 1
    }
    if (next <= gap.to) await onLost({ ...gap, from: next })
  }

  /** Whether the number that was handled last is another's by now, or nobody's: asked once in a pass. */
  async #isGivenAgain({ uuid }: Numbered, last: Position): Promise<boolean> {
    if (this.#counted.has(uuid)) return false
    const at = Math.max(last.sequence, 1)
    return this.#isAnother(uuid, last, await this.#options.replay({ instance_uuid: uuid, from: at, to: at }))
  }

  #isAnother(uuid: string, last: Position, { notifications, last_sequence }: Replayed<N>): boolean {
    this.#counted.set(uuid, last_sequence)
    if (last_sequence < last.sequence) return true
    const id = this.#idOf(notifications, last.sequence)
    return last.message_id !== null && id !== null && id !== last.message_id
  }

  /** Null: it is kept no more. */
  #idOf(notifications: readonly N[], sequence: number): string | null {
    return notifications.find((each) => numberOf(each)?.sequence === sequence)?.message_id ?? null
  }

  async #tellCountedBack(instance_uuid: string, reached: number, last_sequence: number): Promise<void> {
    await this.#options.onCountedBack?.({ instance_uuid, reached, last_sequence })
  }

  #isKnown(notification: N): boolean {
    const identity = identityOf(notification)
    return identity !== undefined && (this.#put.has(identity) || this.#wasHandled(identity))
  }

  #step(notification: N, uuid: string, position: Position): void {
    this.#steps.push({ notification, position: { uuid, ...position } })
    const identity = identityOf(notification)
    if (identity !== undefined) this.#put.add(identity)
    this.#last.set(uuid, position)
  }
}

function positionOf<N extends Identified>({ sequence, notification: { message_id } }: InHand<N>): Position {
  return { sequence, message_id }
}
