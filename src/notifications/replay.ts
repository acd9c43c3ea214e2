/** Notifications of an instance that are missing. */
export interface Gap {
  readonly instance_uuid: string
  readonly from: number
  readonly to: number
}

/**
 * The conductors have given fewer numbers than came here, or those to others: their database was restored, or copied, or the number is
 * not theirs.
 */
export interface CountedBack {
  readonly instance_uuid: string
  /** The highest that came here. */
  readonly reached: number
  /** The one they gave last; 0: they know of no such instance. As high as the other, or higher: they have counted up to it again. */
  readonly last_sequence: number
}

export interface Replayed<N> {
  /** In order; those that are kept no more are not among them. */
  readonly notifications: readonly N[]
  /** The number that was given last to one of the instance. */
  readonly last_sequence: number
}

/** Asks for the missing ones. */
export type AskForReplay<N> = (gap: Gap) => Promise<Replayed<N>>

/** Of whom a consumer has what it misses, and whom it tells. */
export interface ReplaySource<N> {
  readonly replay: AskForReplay<N>
  /** They cannot be had any more. It is told before what comes after them is handled, and again if that fails. */
  readonly onLost?: ((gap: Gap) => Promise<void>) | undefined
  /** All that is kept is handed on again, and what was numbered so as well. Told before, and again if that fails. */
  readonly onCountedBack?: ((told: CountedBack) => Promise<void>) | undefined
}
