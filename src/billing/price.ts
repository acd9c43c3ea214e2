import { type HourlyRates, NANOS, type RateCard } from './rate-card.ts'
import type { UsageRecord } from './usage-records.ts'

const SECONDS_PER_HOUR = 3600n
const MIB_PER_GIB = 1024n
/** Percents are in parts per million. */
const WHOLE = 1_000_000n

/** In the smallest unit that the rate card rounds to. */
export interface Price {
  readonly base: bigint
  readonly surcharge: bigint
}

/** What a usage record costs, or why it has no price. */
export type Pricing = Price | { readonly missing: string }

/** Exact up to the one rounding of each amount, half to even; so the same use costs the same, however it is summed. */
export function priceOf(record: UsageRecord, card: RateCard): Pricing {
  const rates = Object.hasOwn(card.flavors, record.flavor.name) ? card.flavors[record.flavor.name] : card.default
  if (rates === undefined) return { missing: `flavors.${record.flavor.name}, nor default` }
  const sizes = sizesOf(record)
  if (sizes === undefined) return { missing: `size of flavor ${record.flavor.name}: its notification has none` }
  const base = nanosAnHour(rates, sizes)
  const surcharge = surchargeOf(record.model, base, sizes, card)
  if (surcharge === undefined) return { missing: `encryption.${record.model}` }
  const share = record.state === 'stopped' ? card.stopped.percent : WHOLE
  const amount = (nanosPerHour: Fraction) => {
    const unit = NANOS / 10n ** BigInt(card.decimals)
    const { top, bottom } = nanosPerHour
    return rounded(top * BigInt(record.seconds) * share, bottom * SECONDS_PER_HOUR * WHOLE * unit)
  }
  return { base: amount(base), surcharge: amount(surcharge) }
}

/** `1.250000` of an amount in the smallest unit. */
export function decimal(amount: bigint, decimals: number): string {
  const digits = amount.toString().padStart(decimals + 1, '0')
  return decimals === 0 ? digits : `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`
}

interface Fraction {
  readonly top: bigint
  readonly bottom: bigint
}
interface Sizes {
  readonly vcpus: bigint
  readonly memoryMb: bigint
}

function sizesOf({ flavor: { vcpus, memory_mb } }: UsageRecord): Sizes | undefined {
  return vcpus === null || memory_mb === null ? undefined : { vcpus: BigInt(vcpus), memoryMb: BigInt(memory_mb) }
}

function nanosAnHour(rates: HourlyRates, { vcpus, memoryMb }: Sizes): Fraction {
  const { per_hour = 0n, per_vcpu_hour = 0n, per_gib_hour = 0n } = rates
  return { top: (per_hour + per_vcpu_hour * vcpus) * MIB_PER_GIB + per_gib_hour * memoryMb, bottom: MIB_PER_GIB }
}

function surchargeOf(model: string | null, base: Fraction, sizes: Sizes, card: RateCard): Fraction | undefined {
  if (model === null) return { top: 0n, bottom: 1n }
  if (!Object.hasOwn(card.encryption, model)) return undefined
  const { percent = 0n, ...rates } = card.encryption[model] as RateCard['encryption'][string]
  const own = nanosAnHour(rates, sizes)
  return { top: base.top * percent + own.top * WHOLE, bottom: MIB_PER_GIB * WHOLE }
}

/** To the nearest, and of two as near to the even one. */
function rounded(top: bigint, bottom: bigint): bigint {
  const whole = top / bottom
  const twice = (top % bottom) * 2n
  return twice > bottom || (twice === bottom && whole % 2n === 1n) ? whole + 1n : whole
}
