import { InvalidProperty } from '../../../errors.ts'
import { type Flavor, flavorLabel } from '../../../objects/flavor.ts'
import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledBoolean, spelledChoice } from '../../../objects/spelled-value.ts'
import type { RngSpec } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/** Nova's `rng_dev_path`. */
const SOURCE = '/dev/urandom'
const DEFAULT_PERIOD_MS = 1000

/** Entropy for the guest, unless its flavor forbids it: Nova's `hw_rng:allowed`, `hw_rng:rate_bytes`, `hw_rng:rate_period`. */
export const rng: Configurator = (domain, { flavor, image }) => {
  spelledChoice(imageLabel(image), 'hw_rng_model', image.properties.hw_rng_model, ['virtio'])
  const allowed = spelledBoolean(flavorLabel(flavor), 'hw_rng:allowed', flavor.extra_specs['hw_rng:allowed'])
  if (allowed === false) return domain
  return { ...domain, rng: { source: SOURCE, rate: rate(flavor), iommu: false } }
}

function rate(flavor: Flavor): RngSpec['rate'] {
  const bytes = count(flavor, 'hw_rng:rate_bytes')
  const periodMs = count(flavor, 'hw_rng:rate_period')
  return bytes === undefined ? undefined : { bytes, periodMs: periodMs ?? DEFAULT_PERIOD_MS }
}

function count(flavor: Flavor, property: string): number | undefined {
  const value = flavor.extra_specs[property]
  if (value === undefined) return undefined
  if (/^[1-9]\d{0,9}$/.test(value.trim())) return Number(value)
  const fix = 'write a whole number from 1'
  throw new InvalidProperty(`${flavorLabel(flavor)} has ${property}=${JSON.stringify(value)}; ${fix}`, {
    owner: flavorLabel(flavor),
    property,
    value: value.slice(0, 64),
    fix,
  })
}
