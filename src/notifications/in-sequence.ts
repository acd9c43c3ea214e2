import type { AnyNotification } from './notification.ts'

/** Where a consumer keeps how far it is with each instance. */
export interface Positions {
  /** The number of what was handled last, of those instances of which something was. */
  read(instances: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Resolves when it will outlast a crash. */
  write(positions: ReadonlyMap<string, number>): Promise<void>
}

/** Notifications of an instance that are missing. */
export interface Gap {
  readonly instance_uuid: string
  readonly from: number
  readonly to: number
}

/** Asks for the missing ones; in order, and those that are kept no more are not among them. */
export type AskForReplay<N> = (gap: Gap) => Promise<readonly N[]>

export interface InSequenceOptions<N> {
  readonly positions: Positions
  readonly replay: AskForReplay<N>
  /** They cannot be had any more. It is told before what comes after them is handled, and again if that fails. */
  readonly onLost?: ((gap: Gap) => Promise<void>) | undefined
}

interface Numbered {
  readonly uuid: string
  readonly sequence: number
}

/**
 * Hands on each instance's notifications in their order, none left out and none twice. What is missing is asked for at once,
 * rather than waited for: it may be in another queue (errors are), or nowhere. So nothing has to be held back, and what comes
 * late is known to be there already. One consumer at a time may do so with the same positions.
 *
 * A crash between the handling and the note of it brings the last ones again, with the same message ids.
 */
export class InSequence<N extends Pick<AnyNotification, 'payload'>> {
  readonly #options: InSequenceOptions<N>

  constructor(options: InSequenceOptions<N>) {
    this.#options = options
  }

  /** @param handle is given what is to be handled; when it resolves with other than false, that counts as handled */
  async handle(batch: readonly N[], handle: (notifications: readonly N[]) => Promise<unknown>): Promise<void> {
    const { positions } = this.#options
    const uuids = new Set(batch.flatMap((notification) => numberOf(notification)?.uuid ?? []))
    const known = await positions.read([...uuids])
    const last = new Map(known)
    const ordered = await this.#order(batch, last)
    if (ordered.length > 0 && (await handle(ordered)) === false) return
    const moved = new Map([...last].filter(([uuid, sequence]) => known.get(uuid) !== sequence))
    if (moved.size > 0) await positions.write(moved)
  }

  /** @param last moves on with what is put in order */
  async #order(batch: readonly N[], last: Map<string, number>): Promise<readonly N[]> {
    const here = new Map<string, N>()
    for (const notification of batch) {
      const numbered = numberOf(notification)
      if (numbered !== undefined) here.set(keyOf(numbered), notification)
    }
    const ordered: N[] = []
    for (const notification of batch) {
      const numbered = numberOf(notification)
      if (numbered === undefined) ordered.push(notification)
      else ordered.push(...(await this.#upTo(numbered, here, last)))
    }
    return ordered
  }

  /** All up to this one that were not handled yet. */
  async #upTo({ uuid, sequence }: Numbered, here: ReadonlyMap<string, N>, last: Map<string, number>) {
    const found: N[] = []
    for (let next = (last.get(uuid) ?? 0) + 1; next <= sequence; ) {
      const inHand = here.get(keyOf({ uuid, sequence: next }))
      if (inHand !== undefined) {
        found.push(inHand)
        next += 1
      } else {
        let to = next
        while (to < sequence - 1 && !here.has(keyOf({ uuid, sequence: to + 1 }))) to += 1
        found.push(...(await this.#missing({ instance_uuid: uuid, from: next, to })))
        next = to + 1
      }
      last.set(uuid, next - 1)
    }
    return found
  }

  async #missing(gap: Gap): Promise<readonly N[]> {
    const { replay, onLost = async () => {} } = this.#options
    const found = await replay(gap)
    let next = gap.from
    for (const notification of found) {
      const { sequence } = numberOf(notification) as Numbered
      if (sequence > next) await onLost({ ...gap, from: next, to: sequence - 1 })
      next = sequence + 1
    }
    if (next <= gap.to) await onLost({ ...gap, from: next })
    return found
  }
}

function keyOf({ uuid, sequence }: Numbered): string {
  return `${uuid} ${sequence}`
}

/** Undefined: it is about no instance, or Nova's, which has no numbers. */
function numberOf({ payload }: Pick<AnyNotification, 'payload'>): Numbered | undefined {
  const { sevbus, 'nova_object.data': data } = (payload ?? {}) as {
    readonly sevbus?: { readonly sequence?: unknown } | null
    readonly 'nova_object.data'?: { readonly uuid?: unknown; readonly instance_uuid?: unknown } | null
  }
  const uuid = data?.instance_uuid ?? data?.uuid
  const sequence = sevbus?.sequence
  if (typeof uuid !== 'string' || !Number.isSafeInteger(sequence)) return undefined
  return { uuid: uuid.toLowerCase(), sequence: sequence as number }
}
