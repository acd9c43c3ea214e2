import { FlavorImageLockedMemoryConflict, LockMemoryForbidden } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import { type Judge, strict } from './judge.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption } from './mem-encryption.ts'
import { type MemoryPageSize, memoryPageSize } from './memory-page-size.ts'
import { spelledBoolean } from './spelled-value.ts'

/** What the guest's memory is made of on the host: libvirt's `<memoryBacking>`. */
export interface MemoryBacking {
  /** `<locked/>`: no page of the guest, nor of its QEMU, is ever swapped out. */
  readonly locked: boolean
  /** Undefined: nobody asked, the host's ordinary pages. */
  readonly pageSize: MemoryPageSize | undefined
}

/**
 * Rules: the spec, "Memory locking and accounting", and Nova's `get_locked_memory_constraint`.
 *
 * SEV and SEV-ES always lock. An explicit `hw:locked_memory=false` beside them is no error, as in Nova: such flavors
 * and images exist, and are used in clear and with SEV-SNP too; there the answer is theirs, here it is the hardware's.
 * SNP never locks by force, and whoever wants to lock must name a page size: Nova's rule, whose hosts count locked memory
 * by page size. Hosts here do not count pages, but a flavor means the same in both.
 *
 * @throws MemoryPageSizeInvalid, MemoryPageSizeForbidden, FlavorImageLockedMemoryConflict, LockMemoryForbidden,
 *   InvalidProperty
 */
export function memoryBacking(
  flavor: Flavor,
  image: ImageMeta,
  encryption: MemEncryption | undefined,
  judge: Judge = strict,
): MemoryBacking {
  const pageSize = judge(() => memoryPageSize(flavor, image), 'small')
  const wanted = judge(() => lockWanted(flavor, image), false)
  judge(() => {
    if (wanted && pageSize === undefined) throw lockForbidden(flavor, image)
  })
  const byModel = encryption !== undefined && MEM_ENCRYPTION_MODELS[encryption.model].locksMemory
  return { locked: byModel || wanted, pageSize }
}

const SPEC = 'hw:locked_memory'
const PROPERTY = 'hw_locked_memory'

function lockWanted(flavor: Flavor, image: ImageMeta): boolean {
  const byFlavor = spelledBoolean(flavorLabel(flavor), SPEC, flavor.extra_specs[SPEC])
  const byImage = spelledBoolean(imageLabel(image), PROPERTY, image.properties[PROPERTY])
  if (byFlavor !== undefined && byImage !== undefined && byFlavor !== byImage) {
    const fix = 'choose a flavor and an image that agree, or remove the property from one of them'
    throw new FlavorImageLockedMemoryConflict(
      `${flavorLabel(flavor)} has ${SPEC}=${flavor.extra_specs[SPEC]} but ${imageLabel(image)} has ${PROPERTY}=${image.properties[PROPERTY]}; ${fix}`,
      { flavor: flavor.name, image: image.id ?? null, flavor_value: byFlavor, image_value: byImage, fix },
    )
  }
  return byFlavor ?? byImage ?? false
}

function lockForbidden(flavor: Flavor, image: ImageMeta): LockMemoryForbidden {
  const byFlavor = flavor.extra_specs[SPEC] !== undefined
  const [owner, property] = byFlavor ? [flavorLabel(flavor), SPEC] : [imageLabel(image), PROPERTY]
  const value = byFlavor ? flavor.extra_specs[SPEC] : image.properties[PROPERTY]
  const fix = 'set hw:mem_page_size on the flavor (small does), or remove the lock'
  const lack = byFlavor ? 'a page size' : `a page size, and ${flavorLabel(flavor)} names none`
  return new LockMemoryForbidden(`${owner} has ${property}=${value}, but locked memory needs ${lack}; ${fix}`, {
    owner,
    property,
    value,
    fix,
  })
}
