import { END_MS, type Life, MONTH, type Stretch } from './life.ts'

/** The rate card of the month, for `sevbus bill`; the same numbers are below, and nothing else of it. */
export const RATES = `
currency: EUR
default: { per_vcpu_hour: 0.02, per_gib_hour: 0.005 }
flavors: { m1.sev: { per_hour: 0.12 } }
encryption: { amd-sev: { percent: 12.5 }, amd-sev-es: { per_vcpu_hour: 0.01 } }
stopped: { percent: 50 }
`

export interface PlainLine {
  readonly instances: number
  readonly seconds: number
  /** Millionths of a euro. */
  readonly amount: bigint
}

/**
 * What each project owes for each flavor and model, from what the instances really did: no notification, no fact, no record,
 * and none of the code that bills. Moments count in whole seconds, amounts are rounded for each stretch, half to even.
 */
export function plainBill(lives: readonly Life[]): ReadonlyMap<string, PlainLine> {
  const lines = new Map<string, PlainLine>()
  for (const { project, stretches, endToldMs } of lives) {
    const seen = new Set<string>()
    for (const { stretch, length } of lengths(...noClockBack(stretches, endToldMs))) {
      const key = JSON.stringify([project, stretch.flavor.name, stretch.model])
      const { instances, seconds, amount } = lines.get(key) ?? { instances: 0, seconds: 0, amount: 0n }
      lines.set(key, {
        instances: instances + (seen.has(key) ? 0 : 1),
        seconds: seconds + length,
        amount: amount + owed(stretch, length),
      })
      seen.add(key)
    }
  }
  return lines
}

/** Where a clock shows less than the one before, it was then: as told, time never runs backwards. */
function noClockBack(stretches: readonly Stretch[], endMs = Number.POSITIVE_INFINITY) {
  let latestMs = 0
  const told = stretches.map((stretch) => {
    latestMs = Math.max(latestMs, stretch.toldMs)
    return { ...stretch, toldMs: latestMs }
  })
  return [told, Math.max(latestMs, endMs)] as const
}

function lengths(stretches: readonly Stretch[], endMs: number) {
  const [begin, end] = [Date.parse(MONTH.from) / 1000, Date.parse(MONTH.to) / 1000]
  const second = (ms: number) => Math.floor(Math.min(ms, END_MS) / 1000)
  // What changes twice in one second was never so, and what becomes as it is goes on.
  const told = stretches.filter(({ toldMs }, n) => second(toldMs) < second(stretches[n + 1]?.toldMs ?? endMs))
  const different = told.filter((stretch, n) => n === 0 || describe(stretch) !== describe(told[n - 1] as Stretch))
  return different.flatMap((stretch, n) => {
    const from = Math.max(second(stretch.toldMs), begin)
    const to = Math.min(second(different[n + 1]?.toldMs ?? endMs), end)
    // On no host it uses nothing.
    return to > from && stretch.host !== null ? [{ stretch, length: to - from }] : []
  })
}

function describe({ fromMs, toldMs, ...how }: Stretch): string {
  return JSON.stringify(how)
}

/** In millionths of a euro an hour, times 1024: then all rates here are whole numbers. */
function owed({ flavor: { name, vcpus, memory_mb }, model, state }: Stretch, length: number): bigint {
  const base = name === 'm1.sev' ? 120_000 * 1024 : 20_000 * vcpus * 1024 + 5_000 * memory_mb
  const surcharge = model === 'amd-sev' ? base / 8 : model === 'amd-sev-es' ? 10_000 * vcpus * 1024 : 0
  const half = state === 'stopped' ? 2n : 1n
  const rounded = (rate: number) => halfToEven(BigInt(rate) * BigInt(length), 3600n * 1024n * half)
  return rounded(base) + rounded(surcharge)
}

function halfToEven(top: bigint, bottom: bigint): bigint {
  const whole = top / bottom
  const twice = (top % bottom) * 2n
  return twice > bottom || (twice === bottom && whole % 2n === 1n) ? whole + 1n : whole
}
