import { LOST, NOBODY, PASSED } from './rejection-column.ts'

/** Which filter said no to the host in this place. */
export interface NamedRejection {
  readonly place: number
  readonly position: number
}

/**
 * The rejected hosts that are told by name: one of each filter, then a second of each, and so on, those in the lower
 * places first. No reason hides behind a thousand of another.
 *
 * @param verdicts for each place a filter's position, `LOST`, `NOBODY` or `PASSED`
 * @param counts how many hosts there are with each verdict
 */
export function namedRejections(
  verdicts: Uint8Array,
  places: number,
  counts: Int32Array,
  limit: number,
): readonly NamedRejection[] {
  const turns = turnsToName(counts, limit)
  const wanted = counts.map((count, verdict) => (verdict <= LOST ? Math.min(count, turns) : 0))
  let missing = wanted.reduce((sum, count) => sum + count, 0)
  const named: (NamedRejection & { readonly turn: number })[] = []
  for (let place = 0; missing > 0 && place < places; place++) {
    const position = verdicts[place] as number
    if (position >= NOBODY) continue
    const left = wanted[position] as number
    if (left === 0) continue
    named.push({ place, position, turn: Math.min(counts[position] as number, turns) - left })
    wanted[position] = left - 1
    missing--
  }
  return named.sort((a, b) => a.turn - b.turn || a.place - b.place).slice(0, Math.max(limit, countOf(counts)))
}

/** How often each filter gets its turn until the limit is reached: once at least, so that each has an example. */
function turnsToName(counts: Int32Array, limit: number): number {
  for (let turns = 1; ; turns++) {
    let named = 0
    let all = 0
    for (let position = 0; position <= LOST; position++) {
      named += Math.min(counts[position] as number, turns)
      all += counts[position] as number
    }
    if (named >= Math.min(limit, all)) return turns
  }
}

function countOf(counts: Int32Array): number {
  return counts.subarray(0, NOBODY).reduce((filters, count) => filters + (count > 0 ? 1 : 0), 0)
}

/** How many hosts there are with each verdict. */
export function countVerdicts(verdicts: Uint8Array, places: number, counts: Int32Array): Int32Array {
  counts.fill(0)
  for (let place = 0; place < places; place++) {
    const verdict = verdicts[place] as number
    counts[verdict] = (counts[verdict] as number) + 1
  }
  return counts
}

/** Which hosts no filter rejects. */
export function passedPlaces(verdicts: Uint8Array, places: number, into: Int32Array): Int32Array {
  let passed = 0
  for (let place = 0; place < places; place++) if (verdicts[place] === PASSED) into[passed++] = place
  return into.subarray(0, passed)
}
