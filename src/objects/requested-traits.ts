import { FlavorImageConflict, InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { meansEncryption } from './mem-encryption-spelling.ts'
import { MODEL_TRAIT_SPEC } from './resources.ts'

/** `trait:NAME`, not of a granular group (`trait1:NAME`), whose providers nobody asks for here. */
const TRAIT_SPEC = /^trait:([A-Z][A-Z0-9_]{0,254})$/
const FIX = 'write required or forbidden'

/** What the providers that a guest is claimed on must have, and must not have. Names are placement's. */
export interface TraitRequest {
  readonly required: readonly string[]
  readonly forbidden: readonly string[]
}

/** Whether the key asks for a trait by which hosts are chosen. The traits of models have rules of their own. */
export function asksForTrait(property: string): boolean {
  return TRAIT_SPEC.test(property) && !MODEL_TRAIT_SPEC.test(property) && !meansEncryption(property)
}

/**
 * Refuses traits that are neither required nor forbidden, or both.
 *
 * @throws InvalidProperty, FlavorImageConflict
 */
export function refuseContradictingTraits(flavor: Flavor, image: ImageMeta, judge: Judge): void {
  for (const key in flavor.extra_specs) {
    if (asksForTrait(key)) judge(() => refuseOtherWords(flavorLabel(flavor), key, flavor.extra_specs[key]))
  }
  for (const key in image.properties) {
    if (!asksForTrait(key)) continue
    const value = image.properties[key]
    judge(() => refuseOtherWords(imageLabel(image), key, value))
    const ofFlavor = flavor.extra_specs[key]
    if (ofFlavor !== undefined && ofFlavor !== value) judge(() => refuseBoth(flavor, image, key))
  }
}

/** Undefined: none. Flavor and image are of a launch that nobody refused. */
export function requestedTraits(flavor: Flavor, image: ImageMeta): TraitRequest | undefined {
  const asked = new Map<string, unknown>()
  for (const properties of [flavor.extra_specs, image.properties]) {
    for (const key in properties) if (asksForTrait(key)) asked.set(key.slice('trait:'.length), properties[key])
  }
  if (asked.size === 0) return undefined
  const names = (word: string) => [...asked].flatMap(([name, value]) => (value === word ? name : [])).toSorted()
  return { required: names('required'), forbidden: names('forbidden') }
}

function refuseOtherWords(owner: string, property: string, value: unknown): void {
  if (value === 'required' || value === 'forbidden') return
  throw new InvalidProperty(`${owner} has ${property}=${String(value)}, which means nothing; ${FIX}`, {
    owner,
    property,
    value,
    fix: FIX,
  })
}

function refuseBoth(flavor: Flavor, image: ImageMeta, property: string): void {
  const [ofFlavor, ofImage] = [flavor.extra_specs[property], image.properties[property]]
  const fix = 'choose a flavor and an image that agree, or remove the property from one of them'
  throw new FlavorImageConflict(
    `${flavorLabel(flavor)} has ${property}=${ofFlavor} but ${imageLabel(image)} has ${property}=${String(ofImage)}; ${fix}`,
    { property, flavor_value: ofFlavor, image_value: ofImage, fix },
  )
}
