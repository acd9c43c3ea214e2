/** Weights are whole numbers of so many to one: what is nearer than that is equal, rounding errors are. */
const PARTS = 1e6

/** How the values of one weigher become its part in the weight, over certain hosts. */
export interface Scale {
  readonly lowest: number
  /** From the weigher's unit to parts of the weight. */
  readonly factor: number
  /** For a host that the weigher cannot tell about (NaN): the least it gives. */
  readonly least: number
}

/** @returns undefined when every host is equal: this weigher has no opinion */
export function scaleOver(values: Iterable<number>, multiplier: number): Scale | undefined {
  let lowest = Number.POSITIVE_INFINITY
  let highest = Number.NEGATIVE_INFINITY
  for (const value of values) {
    if (!Number.isFinite(value)) continue
    if (value < lowest) lowest = value
    if (value > highest) highest = value
  }
  return scaleBetween(lowest, highest, multiplier)
}

export function scaleBetween(lowest: number, highest: number, multiplier: number): Scale | undefined {
  const range = highest - lowest
  if (!(range > 0 && range < Number.POSITIVE_INFINITY)) return undefined
  return { lowest, factor: (multiplier * PARTS) / range, least: Math.round(Math.min(0, multiplier) * PARTS) }
}

export function scaled(value: number, { lowest, factor, least }: Scale): number {
  return Number.isFinite(value) ? Math.round((value - lowest) * factor) : least
}

/** As people and JSON see it: adding 0 turns -0 into 0, which they tell apart. */
export function weightOf(parts: number): number {
  return parts / PARTS + 0
}
