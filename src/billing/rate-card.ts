import { parse, YAMLParseError } from 'yaml'
import { z } from 'zod'
import { InvalidFile } from '../errors.ts'

/** A billionth of a unit of the currency: so fine may a rate be, and so are amounts reckoned before they are rounded. */
export const NANOS = 1_000_000_000n

/** An amount of the currency: `0.012`. More than nine decimals are refused rather than rounded in silence. */
const Amount = z
  .number()
  .min(0)
  .max(1_000_000)
  .refine((value) => Math.abs(value * 1e9 - Math.round(value * 1e9)) < 1e-3, 'at most nine decimals')
  .transform((value) => BigInt(Math.round(value * 1e9)))

/** Parts per million of the price: `12.5` percent is exact, and so is anything with up to four decimals. */
const Percent = z
  .number()
  .min(0)
  .max(100_000)
  .refine((value) => Math.abs(value * 1e4 - Math.round(value * 1e4)) < 1e-6, 'at most four decimals')
  .transform((value) => BigInt(Math.round(value * 1e4)))

const hourly = {
  /** For each instance. */
  per_hour: Amount.optional(),
  per_vcpu_hour: Amount.optional(),
  per_gib_hour: Amount.optional(),
}
const someOf = (value: object) => Object.values(value).some((rate) => rate !== undefined)
const Rates = z.strictObject(hourly).refine(someOf, 'give per_hour, per_vcpu_hour or per_gib_hour')
const Surcharge = z
  .strictObject({ percent: Percent.optional(), ...hourly })
  .refine(someOf, 'give percent, per_hour, per_vcpu_hour or per_gib_hour')

/** What use costs. Whatever is not in it has no price, and is told so: nothing is free by accident. */
export const RateCard = z.strictObject({
  currency: z.string().regex(/^[A-Z]{3}$/, 'write a code of ISO 4217, as EUR'),
  /** Amounts of each usage record are rounded to so many, half to even; totals are their sums. */
  decimals: z.int().min(0).max(9).default(6),
  /** Of flavors that are not in `flavors`. */
  default: Rates.optional(),
  flavors: z.record(z.string(), Rates).default({}),
  /** On top of the flavor's price, by model of memory encryption. */
  encryption: z.record(z.string(), Surcharge).default({}),
  /** How much of it is charged while an instance is stopped. */
  stopped: z.strictObject({ percent: Percent }).prefault({ percent: 100 }),
})
export type RateCard = z.infer<typeof RateCard>
export type HourlyRates = z.infer<typeof Rates>

/** @throws InvalidFile naming every wrong key */
export function parseRateCard(text: string, file: string): RateCard {
  const fix = `correct ${file}; sevbus bill --help shows a rate card`
  let value: unknown
  try {
    value = parse(text)
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error
    throw new InvalidFile(`${file} is no YAML: ${error.message.split('\n')[0]}`, { file, fix })
  }
  const card = RateCard.safeParse(value)
  if (card.success) return card.data
  const problems = card.error.issues.map(({ path, message }) => `${path.join('.') || 'the rate card'}: ${message}`)
  throw new InvalidFile(`${file}: ${problems.join('; ')}`, { file, problems, fix })
}
