import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { requestedHostDevice } from './host-devices.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import type { MemEncryption } from './mem-encryption.ts'
import { CONTEXT_SPEC, meansEncryption } from './mem-encryption-spelling.ts'
import { asksForTrait } from './requested-traits.ts'
import { DISK_GB, MEMORY_MB, MODEL_TRAIT_SPEC, VCPU } from './resources.ts'

/** What Nova asks placement for: resources and traits, also of granular groups (`resources1:…`, `trait_GPU:…`). */
const PLACEMENT_SPEC = /^(resources|trait)[^:]*:(.*)$/i
const FIELDS_OF_CLASSES: Readonly<Record<string, string>> = {
  [VCPU]: 'vcpus',
  [MEMORY_MB]: 'memory_mb',
  [DISK_GB]: 'root_gb, ephemeral_gb and swap',
}

const RESOURCE_FIX = 'remove it: of resources only those of memory encryption are understood'
const TRAIT_FIX = 'write trait:NAME=required or trait:NAME=forbidden, the name in capitals'

/**
 * Refuses resource classes and traits that nobody here counts: ignored, they would start a guest without the device, or
 * on a host without the feature, that its owner ordered. The class and the traits of encryption have rules of their own,
 * and so have traits that hosts are chosen by, and devices of the host where the guest is encrypted.
 *
 * @throws InvalidProperty
 */
export function refuseUncountedResources(
  flavor: Flavor,
  image: ImageMeta,
  encryption: MemEncryption | undefined,
  judge: Judge,
): void {
  for (const key in flavor.extra_specs) {
    if (!PLACEMENT_SPEC.test(key) || (encryption !== undefined && key === requestedHostDevice(flavor))) continue
    judge(() => refuseUncounted(flavorLabel(flavor), key, flavor.extra_specs[key]))
  }
  for (const key in image.properties) {
    if (PLACEMENT_SPEC.test(key)) judge(() => refuseUncounted(imageLabel(image), key, image.properties[key]))
  }
}

function refuseUncounted(owner: string, property: string, value: unknown): void {
  const hasRules = property === CONTEXT_SPEC || MODEL_TRAIT_SPEC.test(property) || asksForTrait(property)
  if (hasRules || meansEncryption(property)) return
  const [, kind = '', name = ''] = PLACEMENT_SPEC.exec(property) ?? []
  const isTrait = kind.toLowerCase() === 'trait'
  const fields = FIELDS_OF_CLASSES[name]
  // None of a device is no order. None of a size would be one: in Nova it leaves that size unclaimed.
  if (!isTrait && fields === undefined && String(value).trim() === '0') return
  const why = isTrait
    ? 'but no host is chosen by that trait'
    : fields === undefined
      ? 'but no host counts or gives that resource'
      : `but guests are claimed as large as they are (${fields})`
  const fix = isTrait ? TRAIT_FIX : RESOURCE_FIX
  throw new InvalidProperty(`${owner} has ${property}=${String(value)}, ${why}; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
