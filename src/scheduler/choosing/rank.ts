import { tieBreak } from '../tie-break.ts'
import { scaleBetween, scaled } from '../weight.ts'

/** What one weigher says of the host in each place. */
export interface Opinion {
  readonly name: string
  readonly multiplier: number
  readonly values: Float64Array
}

export interface Ranked {
  readonly place: number
  /** In parts, see `weight.ts`: the sum, and what each opinion gave to it. */
  readonly sum: number
  readonly parts: readonly number[]
}

interface Ranking {
  readonly opinions: readonly Opinion[]
  /** For hosts of equal weight: of each place, and of the instance. */
  readonly nameHashes: Int32Array
  readonly instance: number
  readonly limit: number
  /** Room to work in, one for each place at least. */
  readonly sums: Float64Array
}

/** The best of these places, best first: what `weighHosts` does, without a value for each host. */
export function rank(places: Int32Array, { opinions, nameHashes, instance, limit, sums }: Ranking): readonly Ranked[] {
  const scales = opinions.map(({ values, multiplier }) => scaleOf(places, values, multiplier))
  sums.fill(0, 0, places.length)
  for (const [n, { values }] of opinions.entries()) {
    const scale = scales[n]
    if (scale !== undefined) addScaled(sums, places, values, scale)
  }
  return firstOf(places, sums, nameHashes, instance, limit).map(({ place, sum }) => ({
    place,
    sum,
    parts: opinions.map(({ values }, n) => {
      const scale = scales[n]
      return scale === undefined ? 0 : scaled(values[place] as number, scale)
    }),
  }))
}

type Scale = ReturnType<typeof scaleBetween>

function scaleOf(places: Int32Array, values: Float64Array, multiplier: number): Scale {
  let lowest = Number.POSITIVE_INFINITY
  let highest = Number.NEGATIVE_INFINITY
  for (let n = 0; n < places.length; n++) {
    const value = values[places[n] as number] as number
    // NaN is neither; infinities are left out below, for they are rare.
    if (value < lowest && value !== Number.NEGATIVE_INFINITY) lowest = value
    if (value > highest && value !== Number.POSITIVE_INFINITY) highest = value
  }
  return scaleBetween(lowest, highest, multiplier)
}

function addScaled(sums: Float64Array, places: Int32Array, values: Float64Array, scale: NonNullable<Scale>): void {
  const { lowest, factor, least } = scale
  for (let n = 0; n < places.length; n++) {
    const value = values[places[n] as number] as number
    // As `scaled`, written out: value - value is 0 of numbers, NaN of all else.
    const part = value - value === 0 ? Math.round((value - lowest) * factor) : least
    sums[n] = (sums[n] as number) + part
  }
}

interface Candidate {
  readonly place: number
  readonly sum: number
  readonly tie: number
}

/** The first by sum, then by tie, kept in order in a list as short as that. */
function firstOf(
  places: Int32Array,
  sums: Float64Array,
  nameHashes: Int32Array,
  instance: number,
  limit: number,
): readonly Candidate[] {
  const best: Candidate[] = []
  let leastSum = Number.NEGATIVE_INFINITY
  let lastTie = Number.POSITIVE_INFINITY
  for (let n = 0; n < places.length; n++) {
    const sum = sums[n] as number
    if (sum < leastSum) continue
    const place = places[n] as number
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
