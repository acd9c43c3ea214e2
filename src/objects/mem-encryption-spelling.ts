import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { MEM_ENCRYPTION_CONTEXT } from './resources.ts'

/** The spec's low-level form of the request. */
export const CONTEXT_SPEC = `resources:${MEM_ENCRYPTION_CONTEXT}`

const FLAVOR_KEYS: readonly string[] = ['hw:mem_encryption', 'hw:mem_encryption_model', CONTEXT_SPEC]
const IMAGE_KEYS: readonly string[] = ['hw_mem_encryption', 'hw_mem_encryption_model']

/** Keys that may speak of encryption: found in one look at each, for most requests have none but the right ones. */
export interface SuspectKeys {
  readonly flavor: readonly string[]
  readonly image: readonly string[]
}

export function suspectKeys(flavor: Flavor, image: ImageMeta): SuspectKeys {
  return { flavor: suspectsOf(flavor.extra_specs), image: suspectsOf(image.properties) }
}

const SUSPECT = /crypt|sev|snp|launch/i

function suspectsOf(properties: Readonly<Record<string, unknown>>): readonly string[] {
  const found: string[] = []
  for (const key in properties) if (SUSPECT.test(key)) found.push(key)
  return found
}

/**
 * What only somebody writes who means our subject, however he spells it. The resource class in a granular group
 * (`resources1:…`) is among it: there it would be a second slot.
 */
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
export function refuseMisspelledRequests(flavor: Flavor, image: ImageMeta, suspects: SuspectKeys, judge: Judge): void {
  for (const key of suspects.flavor) {
    if (FLAVOR_KEYS.includes(key)) continue
    judge(() => refuseIfMeant(flavorLabel(flavor), key, flavor.extra_specs[key], 'hw:mem_encryption=true'))
  }
  for (const key of suspects.image) {
    if (IMAGE_KEYS.includes(key)) continue
    judge(() => refuseIfMeant(imageLabel(image), key, image.properties[key], 'hw_mem_encryption=true'))
  }
}

function refuseIfMeant(owner: string, property: string, value: unknown, request: string): void {
  const key = property
    .trim()
    .toLowerCase()
    .replaceAll(/[\s:.-]+/g, '_')
  if (!MEANS_ENCRYPTION.test(key)) return
  const [why, fix] = MEANS_POLICY.test(key)
    ? ['but no policy can be chosen', 'remove it: every model has one fixed policy']
    : ['which asks for no encryption here', `write ${request}, or remove it`]
  throw new InvalidProperty(`${owner} has ${property}=${String(value)}, ${why}; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
