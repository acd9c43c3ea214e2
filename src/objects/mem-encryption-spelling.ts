import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from './mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT } from './resources.ts'

/** The spec's low-level form of the request. */
export const CONTEXT_SPEC = `resources:${MEM_ENCRYPTION_CONTEXT}`

const FLAVOR_KEYS: readonly string[] = ['hw:mem_encryption', 'hw:mem_encryption_model', CONTEXT_SPEC]
const IMAGE_KEYS: readonly string[] = ['hw_mem_encryption', 'hw_mem_encryption_model']

/** What only somebody writes who means our subject, however he spells it. */
const MEANS_ENCRYPTION =
  /(^|_)mem(ory)?_?encrypt|(^|_)(sev|sev_es|snp)_policy|^hw_(amd_)?(sev|snp)(_|$)|^hw_launch_?security/
/** Nobody configures a policy: one fixed value per model (the spec, "SEV launch-time configuration"). */
const MEANS_POLICY = /policy/

/**
 * Refuses keys that mean encryption, a slot or a policy to their author and nothing to us: ignored, they would boot a
 * guest in clear, or weaker than its owner believes.
 *
 * @throws InvalidProperty naming the key that would do
 */
export function refuseMisspelledRequests(flavor: Flavor, image: ImageMeta): void {
  refuseUnread(flavorLabel(flavor), flavor.extra_specs, FLAVOR_KEYS, 'hw:mem_encryption=true')
  refuseUnread(imageLabel(image), image.properties, IMAGE_KEYS, 'hw_mem_encryption=true')
}

function refuseUnread(
  owner: string,
  properties: Readonly<Record<string, unknown>>,
  read: readonly string[],
  request: string,
): void {
  for (const [property, value] of Object.entries(properties)) {
    if (read.includes(property)) continue
    const key = property
      .trim()
      .toLowerCase()
      .replaceAll(/[\s:.-]+/g, '_')
    if (!MEANS_ENCRYPTION.test(key) && !isContext(key)) continue
    if (MEANS_POLICY.test(key)) {
      throw refusal(owner, property, value, 'remove it: every model has one fixed policy, which nobody configures')
    }
    throw refusal(owner, property, value, `write ${request}, or remove it`)
  }
}

/** In a granular group (`resources1:…`) it would be a second slot, or one in a group that nobody reads. */
function isContext(key: string): boolean {
  return key.startsWith('resources') && key.endsWith(MEM_ENCRYPTION_CONTEXT.toLowerCase())
}

/** Also by the name that the spec has for the trait, and in granular groups. */
const TRAIT_KEY = /^trait[^:]*:HW_CPU_(?:X86_)?AMD_SEV(_ES|_SNP)?$/
const MODEL_OF_TRAIT: Readonly<Record<string, MemEncryptionModel>> = {
  '': 'amd-sev',
  _ES: 'amd-sev-es',
  _SNP: 'amd-sev-snp',
}

/**
 * The spec: the trait is not how encryption is asked for. It may stand beside a request that says the same; required
 * without one, or of another model, or forbidden although asked for, it contradicts what would be started.
 *
 * @param model what flavor and image ask for; undefined: nothing
 * @throws InvalidProperty
 */
export function refuseContraryTraits(flavor: Flavor, image: ImageMeta, model: MemEncryptionModel | undefined): void {
  const owners = [
    { owner: flavorLabel(flavor), properties: flavor.extra_specs, prefix: 'hw:' },
    { owner: imageLabel(image), properties: image.properties, prefix: 'hw_' },
  ]
  for (const { owner, properties, prefix } of owners) {
    for (const [property, value] of Object.entries(properties)) {
      const suffix = TRAIT_KEY.exec(property)
      if (suffix === null) continue
      const meant = MODEL_OF_TRAIT[suffix[1] ?? ''] as MemEncryptionModel
      const isContrary = value === 'forbidden' ? meant === model : meant !== model
      if (isContrary) throw contrary(owner, property, value, { meant, model, prefix })
    }
  }
}

function contrary(
  owner: string,
  property: string,
  value: unknown,
  { meant, model, prefix }: { meant: MemEncryptionModel; model: MemEncryptionModel | undefined; prefix: string },
): InvalidProperty {
  if (value === 'forbidden') return refusal(owner, property, value, `remove it: the guest asks for ${meant}`)
  const request = `${prefix}mem_encryption=true and ${prefix}mem_encryption_model=${meant}`
  const { label } = MEM_ENCRYPTION_MODELS[meant]
  const asked = model === undefined ? 'nobody asks for encryption' : `the guest asks for ${model}`
  return refusal(owner, property, value, `${asked}: for ${label} write ${request}, or remove the trait`)
}

function refusal(owner: string, property: string, value: unknown, fix: string): InvalidProperty {
  return new InvalidProperty(`${owner} has ${property}=${String(value)}, which asks for no encryption here; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
