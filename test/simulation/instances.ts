import type { Migration, Selection } from '../../src/objects/request-spec.ts'
import type { Wish } from './wishes.ts'

/** While it lasts, it holds what the instance had. */
export interface SimulatedMove {
  readonly migration: Migration
  /** The try whose claim it holds. */
  readonly from: number
  readonly source: Selection
  /** What it holds may have been given back: its host was fenced. */
  mayBeFree: boolean
  /**
   * Until it is known to be over, its end may have been reached or not. An evacuation that is finished holds on until its
   * host is fenced or has removed the guest.
   */
  state:
    | 'is open'
    | 'is being finished'
    | 'finished'
    | 'is being confirmed'
    | 'is being reverted'
    | 'confirmed'
    | 'reverted'
}

/** What the one who asks knows of an instance: the conductor's part. */
export interface SimulatedInstance {
  readonly name: string
  readonly uuid: string
  readonly wish: Wish
  /** The last try that was asked for. */
  tries: number
  /** The try that it should have what it has by: the last, but after a move went back the one before it. */
  current: number
  /** Hosts where earlier tries failed, by the try that was told to ignore them. */
  readonly ignored: string[]
  /** What each try was answered. */
  readonly answers: Map<number, Selection>
  /** The moves that tries belong to. */
  readonly moves: Map<number, SimulatedMove>
  /** Tries whose build's end was told. */
  readonly noted: Set<number>
  /** All or nothing together with these, itself among them, by their first try. */
  batch: readonly SimulatedInstance[] | undefined
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
    current: 0,
    ignored: [],
    answers: new Map(),
    moves: new Map(),
    noted: new Set(),
    batch: undefined,
    gaveBackThrough: 0,
    voidedThrough: 0,
  }
}

/** Nobody wants it back. */
export function isWanted({ gaveBackThrough, tries }: SimulatedInstance): boolean {
  return gaveBackThrough < tries
}

/** The move that it is in, or has just been in. */
export function lastMove(instance: SimulatedInstance): SimulatedMove | undefined {
  return instance.moves.get(instance.tries)
}

export function isMoving(instance: SimulatedInstance): boolean {
  const state = lastMove(instance)?.state
  return state !== undefined && state !== 'confirmed' && state !== 'reverted' && state !== 'finished'
}

/**
 * Evacuations that hold on until their host has removed the guest, or is fenced. Of who was deleted that may be any: the
 * deletion may have come before whatever else was said of it.
 */
export function leftBehind(instance: SimulatedInstance): readonly SimulatedMove[] {
  const { moves, voidedThrough, tries } = instance
  const evacuations = [...new Set(moves.values())].filter(({ migration }) => migration.type === 'evacuation')
  if (isWanted(instance)) return evacuations.filter(({ state }) => state === 'finished')
  if (voidedThrough < tries) return []
  return evacuations.filter(({ state }) => state !== 'is being confirmed' && state !== 'confirmed')
}

/** It waits with others for their common answer. */
export function waitsInBatch({ batch, tries, answers }: SimulatedInstance): boolean {
  return batch !== undefined && tries === 1 && !answers.has(1)
}
