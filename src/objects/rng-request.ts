import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type Judge, strict } from './judge.ts'
import { spelledBoolean } from './spelled-value.ts'

/** A device that gives the guest random numbers of the host. */
export interface RngRequest {
  /** So many bytes in so many milliseconds at most; undefined: as many as it reads. */
  readonly rate: { readonly bytes: number; readonly periodMs: number } | undefined
}

/** libvirt's own, for who names bytes alone. */
const DEFAULT_PERIOD_MS = 1000

/**
 * Nova's `hw_rng:allowed`, `hw_rng:rate_bytes`, `hw_rng:rate_period`: undefined where the flavor forbids it.
 *
 * @throws InvalidProperty
 */
export function requestedRng(flavor: Flavor, judge: Judge = strict): RngRequest | undefined {
  const property = 'hw_rng:allowed'
  const allowed = judge(() => spelledBoolean(flavorLabel(flavor), property, flavor.extra_specs[property]), undefined)
  const bytes = judge(() => count(flavor, 'hw_rng:rate_bytes'), undefined)
  const periodMs = judge(() => count(flavor, 'hw_rng:rate_period'), undefined)
  if (allowed === false) return undefined
  return { rate: bytes === undefined ? undefined : { bytes, periodMs: periodMs ?? DEFAULT_PERIOD_MS } }
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
