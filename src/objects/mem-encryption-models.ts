import { FlavorImageConflict, InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import { type MemEncryptionModel, MemEncryptionModel as ModelSchema } from './mem-encryption.ts'

const MODEL_SPEC = 'hw:mem_encryption_model'
const MODEL_PROPERTY = 'hw_mem_encryption_model'

/**
 * The models that will do, best first: `amd-sev-snp,amd-sev-es` is SNP, else ES. Nova knows one only; a single one is
 * written and read as there. "Unset" is no value: whoever names models decides; two lists that differ are refused, also
 * in their order, known or not.
 *
 * @returns undefined when nobody names any
 * @throws FlavorImageConflict, InvalidProperty
 */
export function requestedModels(flavor: Flavor, image: ImageMeta): readonly MemEncryptionModel[] | undefined {
  const written = flavor.extra_specs[MODEL_SPEC]
  const ofImage = image.properties[MODEL_PROPERTY]
  const byImage = spelledModels(imageLabel(image), MODEL_PROPERTY, ofImage)
  if (written !== undefined && byImage !== undefined && words(written).join() !== byImage.join()) {
    const fix = 'choose a flavor and an image that agree on the model'
    throw new FlavorImageConflict(
      `${flavorLabel(flavor)} has ${MODEL_SPEC}=${written} but ${imageLabel(image)} has ${MODEL_PROPERTY}=${ofImage}; ${fix}`,
      { flavor: flavor.name, image: image.id ?? null, flavor_value: written, image_value: ofImage, fix },
    )
  }
  return spelledModels(flavorLabel(flavor), MODEL_SPEC, written) ?? byImage
}

/** @throws InvalidProperty for words that are no models, and for one that is named twice */
function spelledModels(owner: string, property: string, value: unknown): readonly MemEncryptionModel[] | undefined {
  if (value === undefined || value === null) return undefined
  const asked = words(String(value))
  const known = ModelSchema.options.filter((model) => asked.includes(model))
  if (known.length === asked.length) return asked as readonly MemEncryptionModel[]
  const fix = `write one of ${ModelSchema.options.join(', ')}, or several of them, each once and best first, with commas between`
  throw new InvalidProperty(`${owner} has ${property}=${JSON.stringify(value)}, which means nothing; ${fix}`, {
    owner,
    property,
    value: typeof value === 'string' ? value.slice(0, 64) : value,
    fix,
  })
}

function words(list: string): readonly string[] {
  return list.split(/ *, */)
}

/** @throws InvalidProperty */
export function refuseModelWithoutRequest(
  flavor: Flavor,
  image: ImageMeta,
  models: readonly MemEncryptionModel[] | undefined,
): void {
  if (models === undefined) return
  const byFlavor = flavor.extra_specs[MODEL_SPEC] !== undefined
  const owner = byFlavor ? flavorLabel(flavor) : imageLabel(image)
  const property = byFlavor ? MODEL_SPEC : MODEL_PROPERTY
  const value = models.join()
  const fix = `set ${byFlavor ? 'hw:mem_encryption' : 'hw_mem_encryption'}=true, or remove ${property}`
  throw new InvalidProperty(`${owner} has ${property}=${value}, but nobody asks for encryption; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
