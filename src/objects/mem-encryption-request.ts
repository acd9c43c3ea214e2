import { FlavorImageConflict, InvalidProperty } from '../errors.ts'
import { refuseWhatEncryptedGuestsCannotHave } from './encrypted-guest-rules.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import { type Judge, strict } from './judge.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, type MemEncryptionModel, policyHex } from './mem-encryption.ts'
import { refuseModelWithoutRequest, requestedModels } from './mem-encryption-models.ts'
import { CONTEXT_SPEC, refuseMisspelledRequests, suspectKeys } from './mem-encryption-spelling.ts'
import { refuseContraryTraits } from './mem-encryption-traits.ts'
import { spelledBoolean } from './spelled-value.ts'

/**
 * Decides whether a guest's memory is encrypted, and how: the models that will do, best first; none when nobody asked.
 * Of several the scheduler takes the first that has a slot, so what holds for one must hold for each.
 *
 * Rules: the spec, "Proposed change"; Nova's `get_mem_encryption_constraint` for what conflicts, and in its order, for
 * the first that is broken is the one that is told. Stricter than Nova where Nova would start a guest in clear or fail
 * on the host: junk values, an unknown model, a model without a request and requests written where nobody reads them
 * are refused here. `test/objects/mem-encryption-request.test.ts` has every row.
 *
 * @throws FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired, InvalidProperty: each names the owner,
 *   the property, its value and the fix
 */
export function memEncryptionRequest(
  flavor: Flavor,
  image: ImageMeta,
  judge: Judge = strict,
): readonly MemEncryption[] {
  const suspects = suspectKeys(flavor, image)
  refuseMisspelledRequests(flavor, image, suspects, judge)
  // A request that nobody can read is one: who goes on shall hear what else it would need.
  const byFlavor = judge(() => flavorAsks(flavor), UNREADABLE)
  const byImage = judge(() => imageAsks(image), true)
  judge(() => refuseContradiction(flavor, image, byFlavor?.asked, byImage))
  const named = judge(() => requestedModels(flavor, image), undefined)
  if (!byFlavor?.asked && !byImage) {
    judge(() => refuseModelWithoutRequest(flavor, image, named))
    refuseContraryTraits(flavor, image, suspects, [], judge)
    return []
  }
  const models = named ?? DEFAULT_MODELS
  const requestedBy = byFlavor?.asked && byImage ? 'flavor and image' : byFlavor?.asked ? 'flavor' : 'image'
  refuseWhatEncryptedGuestsCannotHave(flavor, image, models.map(rulesOf), requestedBy, judge)
  refuseContraryTraits(flavor, image, suspects, models, judge)
  return models.map((model) => ({ model, policy: policyHex(rulesOf(model)), requested_by: requestedBy }))
}

/** Nova's, for who asks and names none. */
const DEFAULT_MODELS: readonly MemEncryptionModel[] = ['amd-sev']

function rulesOf(model: MemEncryptionModel) {
  return MEM_ENCRYPTION_MODELS[model]
}

interface FlavorAnswer {
  readonly asked: boolean
  /** As the flavor writes it, for messages. */
  readonly written: string
}

const UNREADABLE: FlavorAnswer = { asked: true, written: '' }

function imageAsks(image: ImageMeta): boolean | undefined {
  return spelledBoolean(imageLabel(image), 'hw_mem_encryption', image.properties.hw_mem_encryption)
}

/** `hw:mem_encryption`, or the spec's own low-level form `resources:MEM_ENCRYPTION_CONTEXT=1`. */
function flavorAsks(flavor: Flavor): FlavorAnswer | undefined {
  const owner = flavorLabel(flavor)
  const value = flavor.extra_specs['hw:mem_encryption']
  const asked = spelledBoolean(owner, 'hw:mem_encryption', value)
  const written = `hw:mem_encryption=${value}`
  const amount = flavor.extra_specs[CONTEXT_SPEC]
  if (amount === undefined) return asked === undefined ? undefined : { asked, written }
  if (amount.trim() !== '1') {
    const fix = `write ${CONTEXT_SPEC}=1, or hw:mem_encryption=true instead`
    throw new InvalidProperty(
      `${owner} has ${CONTEXT_SPEC}=${JSON.stringify(amount)}, but a guest takes exactly one slot; ${fix}`,
      { owner, property: CONTEXT_SPEC, value: amount, fix },
    )
  }
  if (asked === false) {
    const fix = 'remove one of the two'
    throw new InvalidProperty(`${owner} has both ${CONTEXT_SPEC}=1 and ${written}; ${fix}`, {
      owner,
      property: 'hw:mem_encryption',
      value,
      fix,
    })
  }
  return { asked: true, written: asked === undefined ? `${CONTEXT_SPEC}=1` : written }
}

/** A flavor that says "no" beside an image that says nothing is no conflict; here both spoke, and differ. */
function refuseContradiction(
  flavor: Flavor,
  image: ImageMeta,
  byFlavor: boolean | undefined,
  byImage: boolean | undefined,
): void {
  if (byFlavor === undefined || byImage === undefined || byFlavor === byImage) return
  const written = flavorAsks(flavor)?.written
  const fix = 'choose a flavor and an image that agree, or remove the property from one of them'
  throw new FlavorImageConflict(
    `${flavorLabel(flavor)} has ${written} but ${imageLabel(image)} has hw_mem_encryption=${image.properties.hw_mem_encryption}; ${fix}`,
    { flavor: flavor.name, image: image.id ?? null, flavor_value: byFlavor, image_value: byImage, fix },
  )
}
