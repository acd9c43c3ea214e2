import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { MEM_ENCRYPTION_CONTEXT, MODEL_TRAIT_SPEC } from './resources.ts'
import { isWithinSlips } from './slips.ts'

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

/** The first five: one of them survives any two slips in `mem_encryption`. */
const SUSPECT = /ypt|enc|cry|tion|mem.?e|pyt|sev|snp|launch|confidential|(hw|es|guest)[\W_]*policy/i

function suspectsOf(properties: Readonly<Record<string, unknown>>): readonly string[] {
  const found: string[] = []
  for (const key in properties) if (isSuspect(key)) found.push(key)
  return found
}

/** The same few keys come with each request: what was found of so many is kept, for the look costs more than the rest. */
const KEPT = 1000
const looks = new Map<string, boolean>()

function isSuspect(key: string): boolean {
  const known = looks.get(key)
  if (known !== undefined) return known
  if (looks.size >= KEPT) looks.clear()
  const found = SUSPECT.test(key)
  looks.set(key, found)
  return found
}

/**
 * What only somebody writes who means our subject, however he spells it; read in small letters, with `_` for whatever
 * parts the words. Disks have keys of their own (`hw_ephemeral_encryption`, `cinder_encryption_key_id`), and so have
 * aggregates (`aggregate_instance_extra_specs:sev`) and other policies (`hw:cpu_policy`): they are none of it. The
 * resource class in a granular group (`resources1:…`) is: there it would be a second slot.
 */
const MEANS_ENCRYPTION: readonly RegExp[] = [
  // Memory that is encrypted, in either order, abbreviated, or with letters lost.
  /(^|_)(mem(ory)?|ram)_?(enc(_|$)|e?n?crypt|e[a-z]*(yp|py)t)/,
  /(^|_)encrypt(ed|ion)?_?(mem(ory)?|ram)(_|$)/,
  // Encryption by the hardware, of nothing else.
  /^hw_(guest_|vm_)?encrypt(ed|ion)?(_(model|type|policy|enabled|required))?$/,
  /^hw_confidential/,
  // The technique by its name.
  /^hw_((cpu|x86|guest)_)*(amd_?)?(sev|snp)(_?(es|snp))?(_|$)/,
  /^((libvirt|capabilities)_)?(amd_?)?sev(_?(es|snp))?(_(enabled|required|model|type|mode|guest))?$/,
  /^((libvirt|capabilities)_)?amd_?snp(_|$)/,
  // The spec's earlier name of the resource class, and traits that are none: names in placement are in capitals.
  /^(resources|trait).*_(sev|snp)(_|$)/,
  // libvirt's element, and its attribute.
  /^(hw_|libvirt_)?launch_?security/,
  /(^|_)(sev|sev_?es|(sev_?)?snp)_policy/,
  /^hw_(es_|guest_)?policy$/,
]
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

/** Whether the key asks for encryption, or for a policy, where nobody reads it. */
export function meansEncryption(property: string): boolean {
  if (MODEL_TRAIT_SPEC.test(property)) return false
  const key = property
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
  return MEANS_ENCRYPTION.some((words) => words.test(key)) || isNear(key)
}

const SPELLED_OUT = ['mem_encryption', 'mem_encryption_model', 'memory_encryption', 'memory_encryption_model'] as const

/**
 * Our own keys with two slips of the finger, or with one where it is the first letter: `tpm_encryption` is another word.
 * In whatever scope, and with `hw` grown onto it.
 */
function isNear(key: string): boolean {
  const words = [key.replace(/^hw_?/, ''), key.slice(key.indexOf('_') + 1)]
  return words.some((word) => SPELLED_OUT.some((right) => isWithinSlips(word, right, word[0] === right[0] ? 2 : 1)))
}

function refuseIfMeant(owner: string, property: string, value: unknown, request: string): void {
  if (!meansEncryption(property)) return
  const [why, fix] = MEANS_POLICY.test(property.toLowerCase())
    ? ['but no policy can be chosen', 'remove it: every model has one fixed policy']
    : ['which asks for no encryption here', `write ${request}, or remove it`]
  throw new InvalidProperty(`${owner} has ${property}=${String(value)}, ${why}; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
