import { type Identified, identityOf } from './identity.ts'
import type { ReplaySource } from './replay.ts'
import { type Numbered, numberOf } from './sequence-number.ts'

/** What is to be handled next, and how far it is with its instance then. */
export interface Step<N> {
  readonly notification: N
  /** Absent: it has no number. */
  readonly position?: Numbered
}

interface InHand<N> extends Numbered {
  readonly notification: N
}

/** Puts one batch in order. It takes as many steps as there are notifications, whatever their numbers are. */
export class SequencePass<N extends Identified> {
  readonly #options: ReplaySource<N>
  readonly #last: Map<string, number>
  readonly #wasHandled: (identity: string) => boolean
  readonly #counted = new Map<string, number>()
  readonly #put = new Set<string>()
  readonly #steps: Step<N>[] = []

  /** @param last how far it is with the instances of the batch */
  constructor(options: ReplaySource<N>, last: ReadonlyMap<string, number>, wasHandled: (identity: string) => boolean) {
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
    const last = this.#last.get(uuid) ?? 0
    if (sequence === last + 1) return this.#step(notification, uuid, sequence)
    if (sequence > last) return this.#takeAfterGap(next, last)
    if (this.#isKnown(notification)) return
    // Late, or numbered after a count that began again lower: only what has the same id is the same.
    if ((await this.#countOf(next)) < last) await this.#takeAfterReset(next, last)
    else this.#step(notification, uuid, last)
  }

  async #takeAfterGap(next: InHand<N>, last: number): Promise<void> {
    const { notification, uuid, sequence } = next
    const gap = { instance_uuid: uuid, from: last + 1, to: sequence - 1 }
    const { notifications, last_sequence } = await this.#options.replay(gap)
    this.#counted.set(uuid, last_sequence)
    if (last_sequence < last) return this.#takeAfterReset(next, last)
    if (last_sequence < sequence) await this.#tellCountedBack(uuid, sequence, last_sequence)
    await this.#takeReplayed(notifications, { ...gap, to: Math.min(gap.to, last_sequence) })
    // A number that nobody gave moves nothing: what will get it is handled as well.
    this.#step(notification, uuid, Math.min(sequence, last_sequence))
  }

  /** Which numbers were given twice nobody knows, so all is taken that is kept and was not handled just now. */
  async #takeAfterReset({ notification, uuid, sequence }: InHand<N>, last: number): Promise<void> {
    const counted = this.#counted.get(uuid) as number
    await this.#tellCountedBack(uuid, Math.max(last, sequence), counted)
    const to = Math.min(sequence, counted)
    const again = to < 1 ? [] : (await this.#options.replay({ instance_uuid: uuid, from: 1, to })).notifications
    for (const each of again) if (!this.#isKnown(each)) this.#step(each, uuid, (numberOf(each) as Numbered).sequence)
    if (!this.#put.has(identityOf(notification) ?? '')) this.#step(notification, uuid, to)
  }

  async #takeReplayed(found: readonly N[], gap: { instance_uuid: string; from: number; to: number }): Promise<void> {
    const { onLost = async () => {} } = this.#options
    let next = gap.from
    for (const notification of found) {
      const { uuid, sequence } = numberOf(notification) as Numbered
      if (sequence > next) await onLost({ ...gap, from: next, to: sequence - 1 })
      this.#step(notification, uuid, sequence)
      next = sequence + 1
    }
    if (next <= gap.to) await onLost({ ...gap, from: next })
  }

  async #countOf({ uuid, sequence }: Numbered): Promise<number> {
    const known = this.#counted.get(uuid)
    if (known !== undefined) return known
    const { last_sequence } = await this.#options.replay({ instance_uuid: uuid, from: sequence, to: sequence })
    this.#counted.set(uuid, last_sequence)
    return last_sequence
  }

  async #tellCountedBack(instance_uuid: string, reached: number, last_sequence: number): Promise<void> {
    await this.#options.onCountedBack?.({ instance_uuid, reached, last_sequence })
  }

  #isKnown(notification: N): boolean {
    const identity = identityOf(notification)
    return identity !== undefined && (this.#put.has(identity) || this.#wasHandled(identity))
  }

  #step(notification: N, uuid: string, sequence: number): void {
    this.#steps.push({ notification, position: { uuid, sequence } })
    const identity = identityOf(notification)
    if (identity !== undefined) this.#put.add(identity)
    this.#last.set(uuid, sequence)
  }
}
