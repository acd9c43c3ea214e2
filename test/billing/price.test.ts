import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decimal, priceOf } from '../../src/billing/price.ts'
import { parseRateCard } from '../../src/billing/rate-card.ts'
import type { UsageRecord } from '../../src/billing/usage-records.ts'

const used: UsageRecord = {
  ...{ instance_uuid: 'u', project_id: 'blue', user_id: 'ada', display_name: 'web-1', host: 'node1' },
  ...{ flavor: { name: 'm1.sev', vcpus: 2, memory_mb: 4096 }, model: 'amd-sev', state: 'active' },
  ...{ from: '2026-11-01T00:00:00Z', to: '2026-11-01T01:00:00Z', seconds: 3600, inferred: false },
}
const card = (text: string) => parseRateCard(`currency: EUR\n${text}`, 'rates.yaml')

/** `base + surcharge` of the record with these changes. */
function price(text: string, changes: Partial<UsageRecord> = {}): string {
  const rates = card(text)
  const result = priceOf({ ...used, ...changes }, rates)
  if ('missing' in result) return `no ${result.missing}`
  return [result.base, result.surcharge].map((amount) => decimal(amount, rates.decimals)).join(' + ')
}

describe('a price', () => {
  it('is of the flavor, or of its VCPUs and GiB, for the seconds that it was used', () => {
    const sizes = 'default: { per_vcpu_hour: 0.02, per_gib_hour: 0.005 }\n'
    const flavor = 'flavors: { m1.sev: { per_hour: 0.12 } }\n'
    const clear = { model: null }

    expect(price(sizes, clear)).toBe('0.060000 + 0.000000')
    expect(price(flavor, clear)).toBe('0.120000 + 0.000000')
    expect(price(sizes + flavor, { ...clear, seconds: 1800 })).toBe('0.060000 + 0.000000')
    expect(price(sizes, { ...clear, flavor: { name: 'other', vcpus: 1, memory_mb: 512 } })).toBe('0.022500 + 0.000000')
  })

  it('has a surcharge for the encryption: percent, amount, or both, by model', () => {
    const flavor = 'flavors: { m1.sev: { per_hour: 0.12 } }\n'

    expect(price(`${flavor}encryption: { amd-sev: { percent: 12.5 } }`)).toBe('0.120000 + 0.015000')
    expect(price(`${flavor}encryption: { amd-sev: { per_vcpu_hour: 0.01 } }`)).toBe('0.120000 + 0.020000')
    expect(price(`${flavor}encryption: { amd-sev: { percent: 10, per_hour: 0.5 } }`)).toBe('0.120000 + 0.512000')
    expect(price(`${flavor}encryption: { amd-sev: { percent: 0 } }`)).toBe('0.120000 + 0.000000')
  })

  it('is a part of itself while the instance is stopped', () => {
    const rates = 'flavors: { m1.sev: { per_hour: 1 } }\nencryption: { amd-sev: { percent: 10 } }\n'

    expect(price(rates, { state: 'stopped' })).toBe('1.000000 + 0.100000')
    expect(price(`${rates}stopped: { percent: 25 }`, { state: 'stopped' })).toBe('0.250000 + 0.025000')
    expect(price(`${rates}stopped: { percent: 25 }`)).toBe('1.000000 + 0.100000')
  })

  it('is not there, and never nothing, for what the rate card does not have', () => {
    const flavor = 'flavors: { m1.sev: { per_hour: 0.12 } }\n'

    expect(price(flavor)).toBe('no encryption.amd-sev')
    expect(price(flavor, { model: 'toString' })).toBe('no encryption.toString')
    expect(price('', { model: null })).toBe('no flavors.m1.sev, nor default')
    const sizeless = { name: 'm1.sev', vcpus: null, memory_mb: null }
    expect(price(flavor, { model: null, flavor: sizeless })).toBe('no size of flavor m1.sev: its notification has none')
  })

  it('is rounded to the decimals of the rate card, half to even', () => {
    const rates = (perHour: string) => `decimals: 2\nflavors: { m1.sev: { per_hour: ${perHour} } }`
    const rounded = (perHour: string) => price(rates(perHour), { model: null }).split(' ')[0]

    expect(['0.005', '0.015', '0.025', '0.0251', '0.004999999'].map(rounded)).toEqual([
      ...['0.00', '0.02', '0.02', '0.03', '0.00'],
    ])
    expect(price('decimals: 0\nflavors: { m1.sev: { per_hour: 7 } }', { model: null })).toBe('7 + 0')
  })

  it('is exact: what is used in two parts costs what it costs in one, up to their rounding', () => {
    const rates = card('decimals: 9\nflavors: { m1.sev: { per_hour: 0.036 } }')
    const base = (seconds: number) => {
      const result = priceOf({ ...used, model: null, seconds }, rates)
      return 'missing' in result ? -1n : result.base
    }
    const seconds = fc.integer({ min: 0, max: 100_000_000 })

    // A hundred-thousandth a second: nothing is ever rounded.
    fc.assert(
      fc.property(seconds, seconds, (a, b) => {
        expect(base(a) + base(b)).toBe(base(a + b))
      }),
    )
    expect(base(3600)).toBe(36_000_000n)
  })
})

describe('a rate card', () => {
  const refused = (text: string) => () => parseRateCard(text, 'rates.yaml')

  it('is refused where it is wrong, with every key that is', () => {
    expect(refused('currency: euro\nflavours: {}\ndefault: {}')).toThrow(
      'rates.yaml: currency: write a code of ISO 4217, as EUR; default: give per_hour, per_vcpu_hour or per_gib_hour; the rate card: Unrecognized key: "flavours"',
    )
    expect(refused('currency: EUR\nencryption: { amd-sev: {} }')).toThrow('give percent, per_hour')
    expect(refused('currency: EUR\ndefault: { per_hour: -1 }')).toThrow('default.per_hour')
    expect(refused('')).toThrow('the rate card: Invalid input')
  })

  it('is refused rather than rounded', () => {
    expect(refused('currency: EUR\ndefault: { per_hour: 0.0000000001 }')).toThrow('at most nine decimals')
    expect(refused('currency: EUR\nencryption: { amd-sev: { percent: 0.00001 } }')).toThrow('at most four decimals')
  })

  it('is refused when it is no YAML, with where', () => {
    expect(refused('currency: [')).toThrow('rates.yaml is no YAML:')
  })
})
