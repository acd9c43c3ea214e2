import type { Selection } from '../../src/objects/request-spec.ts'
import type { Wish } from './wishes.ts'

/** What the one who asks knows of an instance: the conductor's part. */
export interface SimulatedInstance {
  readonly name: string
  readonly uuid: string
  readonly wish: Wish
  /** The last try that was asked for. */
  tries: number
  /** Hosts where earlier tries failed, by the try that was told to ignore them. */
  readonly ignored: string[]
  /** What each try was answered. */
  readonly answers: Map<number, Selection>
  /** Tries up to this one were given back, perhaps not yet by everyone's word. */
  gaveBackThrough: number
  /** Tries up to this one were given back, and that was confirmed. */
  voidedThrough: number
}

export function anInstance(n: number, wish: Wish): SimulatedInstance {
  const uuid = `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
  return {
    name: `i${n}`,
    uuid,
    wish,
    tries: 0,
    ignored: [],
    answers: new Map(),
    gaveBackThrough: 0,
    voidedThrough: 0,
  }
}
