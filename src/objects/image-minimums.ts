import { FlavorDiskTooSmall, FlavorMemoryTooSmall } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'

const BYTES_PER_GIB = 1024 ** 3

/**
 * What the image needs at least, `min_ram` in MiB and `min_disk` in GiB, and what it fills by itself. Rules are Nova's
 * (`_validate_flavor_image_nostatus`): a root disk of 0 GiB is as large as the image is, and of a volume, which has no
 * image id, the flavor does not set the size.
 *
 * @throws FlavorMemoryTooSmall, FlavorDiskTooSmall
 */
export function refuseTooSmallFlavor(flavor: Flavor, image: ImageMeta, judge: Judge): void {
  const { min_ram, min_disk, size } = image
  if (flavor.memory_mb < min_ram) judge(() => refuseMemory(flavor, image))
  if (flavor.root_gb === 0 || typeof image.id !== 'string') return
  if (flavor.root_gb < min_disk) judge(() => refuseDisk(flavor, image, 'min_disk', min_disk, min_disk))
  const bytes = size ?? 0
  const neededGb = Math.ceil(bytes / BYTES_PER_GIB)
  if (flavor.root_gb < neededGb) judge(() => refuseDisk(flavor, image, 'size', bytes, neededGb))
}

function refuseMemory(flavor: Flavor, image: ImageMeta): never {
  const { min_ram } = image
  const fix = `take a flavor of ${min_ram} MiB or more`
  throw new FlavorMemoryTooSmall(
    `${flavorLabel(flavor)} has memory_mb=${flavor.memory_mb}, but ${imageLabel(image)} has min_ram=${min_ram}; ${fix}`,
    facts(flavor, image, 'min_ram', min_ram, fix),
  )
}

function refuseDisk(flavor: Flavor, image: ImageMeta, property: string, value: number, neededGb: number): never {
  const fix = `take a flavor whose root disk has ${neededGb} GiB or more`
  throw new FlavorDiskTooSmall(
    `${flavorLabel(flavor)} has root_gb=${flavor.root_gb}, but ${imageLabel(image)} has ${property}=${value}; ${fix}`,
    facts(flavor, image, property, value, fix),
  )
}

function facts(flavor: Flavor, image: ImageMeta, property: string, value: number, fix: string) {
  return { flavor: flavor.name, image: image.id ?? null, property, value, fix }
}
