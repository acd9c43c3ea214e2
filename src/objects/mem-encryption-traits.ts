import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from './mem-encryption.ts'
import type { SuspectKeys } from './mem-encryption-spelling.ts'
import { MODEL_TRAIT_SPEC } from './resources.ts'

const MODEL_OF_TRAIT: Readonly<Record<string, MemEncryptionModel>> = {
  '': 'amd-sev',
  _ES: 'amd-sev-es',
  _SNP: 'amd-sev-snp',
}

/**
 * The spec: the trait is not how encryption is asked for. It may stand beside a request that says the same; required
 * without one, or of another model, or forbidden although asked for, it contradicts what would be started.
 *
 * @param models what flavor and image ask for, any of which will do; none: nothing
 * @throws InvalidProperty
 */
export function refuseContraryTraits(
  flavor: Flavor,
  image: ImageMeta,
  suspects: SuspectKeys,
  models: readonly MemEncryptionModel[],
  judge: Judge,
): void {
  for (const key of suspects.flavor) {
    const value = flavor.extra_specs[key]
    judge(() => refuseIfContrary({ owner: flavorLabel(flavor), key, value, prefix: 'hw:' }, models))
  }
  for (const key of suspects.image) {
    const value = image.properties[key]
    judge(() => refuseIfContrary({ owner: imageLabel(image), key, value, prefix: 'hw_' }, models))
  }
}

interface Written {
  readonly owner: string
  readonly key: string
  readonly value: unknown
  /** How its owner writes requests. */
  readonly prefix: string
}

function refuseIfContrary({ owner, key, value, prefix }: Written, models: readonly MemEncryptionModel[]): void {
  const suffix = MODEL_TRAIT_SPEC.exec(key)
  if (suffix === null) return
  const meant = MODEL_OF_TRAIT[suffix[1] ?? ''] as MemEncryptionModel
  const isNone = !models.includes(meant)
  const isAll = models.length === 1 && !isNone
  if (value === 'forbidden' ? isNone : isAll) return
  const asked = models.length === 0 ? 'nobody asks for encryption' : `the guest asks for ${models.join(' or ')}`
  const request = `${prefix}mem_encryption=true and ${prefix}mem_encryption_model=${meant}`
  const { label } = MEM_ENCRYPTION_MODELS[meant]
  const fix = value === 'forbidden' ? 'remove it' : `for ${label} write ${request}, or remove the trait`
  throw new InvalidProperty(`${owner} has ${key}=${String(value)}, but ${asked}; ${fix}`, {
    owner,
    property: key,
    value,
    fix,
  })
}
