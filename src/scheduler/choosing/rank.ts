import { tieBreak } from '../tie-break.ts'
import type { HostWeigher } from '../weighers/host-weigher.ts'
import { type Scale, scaleBetween, scaled } from '../weight.ts'
import { Extremes } from './extremes.ts'

/** The sum of a place that has no part in the ranking. */
export const NOT_RANKED = Number.NEGATIVE_INFINITY

/** What one weigher says of the host in each place. */
export interface Opinion {
  readonly weigher: HostWeigher
  readonly values: Float64Array
}

export interface ScaledOpinion extends Opinion {
  /** Undefined: every host is equal to it. */
  readonly scale: Scale | undefined
}

/**
 * Weighs certain places, all others are not ranked: for requests that are alone with the hosts that pass.
 *
 * @param sums room for the sums
 */
export function weigh(places: Int32Array, opinions: readonly Opinion[], sums: Float64Array): readonly ScaledOpinion[] {
  sums.fill(NOT_RANKED)
  for (let n = 0; n < places.length; n++) sums[places[n] as number] = 0
  return opinions.map(({ weigher, values }) => {
    const extremes = new Extremes()
    for (let n = 0; n < places.length; n++) extremes.add(values[places[n] as number] as number)
    const scale = scaleBetween(extremes.lowest, extremes.highest, weigher.multiplier)
    if (scale !== undefined) addScaled(sums, places, values, scale)
    return { weigher, values, scale }
  })
}

function addScaled(sums: Float64Array, places: Int32Array, values: Float64Array, scale: Scale): void {
  for (let n = 0; n < places.length; n++) {
    const place = places[n] as number
    sums[place] = (sums[place] as number) + scaled(values[place] as number, scale)
  }
}

export interface Ranked {
  readonly place: number
  readonly sum: number
}

interface Candidate extends Ranked {
  readonly tie: number
}

/**
 * The places with the highest sums, best first: kept in order in a list as short as that.
 *
 * @param nameHashes of the host in each place, and `instance` that of the instance: they order equal sums
 */
export function firstOf(
  sums: Float64Array,
  places: number,
  nameHashes: Int32Array,
  instance: number,
  limit: number,
): readonly Ranked[] {
  const best: Candidate[] = []
  let leastSum = -Number.MAX_VALUE
  let lastTie = Number.POSITIVE_INFINITY
  for (let place = 0; place < places; place++) {
    const sum = sums[place] as number
    if (sum < leastSum) continue
    const tie = tieBreak(instance, nameHashes[place] as number)
    if (sum === leastSum && tie >= lastTie) continue
    insert(best, { place, sum, tie })
    if (best.length > limit) best.pop()
    if (best.length < limit) continue
    const last = best[limit - 1] as Candidate
    leastSum = last.sum
    lastTie = last.tie
  }
  return best
}

function insert(best: Candidate[], candidate: Candidate): void {
  let at = best.length
  while (at > 0 && isBefore(candidate, best[at - 1] as Candidate)) at--
  best.splice(at, 0, candidate)
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.sum > b.sum || (a.sum === b.sum && a.tie < b.tie)
}
