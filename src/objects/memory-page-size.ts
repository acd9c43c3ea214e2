import { MemoryPageSizeForbidden, MemoryPageSizeInvalid } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'

/**
 * Pages that back the guest's memory: `small` the host's ordinary ones, `large` huge pages of the host's choice, `any`
 * what the host likes, or huge pages of one size.
 */
export type MemoryPageSize = 'small' | 'large' | 'any' | { readonly kib: number }

const SPEC = 'hw:mem_page_size'
const PROPERTY = 'hw_mem_page_size'

/**
 * The page size that flavor and image agree on; undefined when the flavor names none. Rules and order are Nova's
 * (`_get_numa_pagesize_constraint`): pages of a size are scarce, so the flavor must allow them, with a size of its own
 * or with `large` or `any`, beside which the image may choose.
 *
 * @throws MemoryPageSizeInvalid, MemoryPageSizeForbidden
 */
export function memoryPageSize(flavor: Flavor, image: ImageMeta): MemoryPageSize | undefined {
  const byFlavor = flavor.extra_specs[SPEC] || undefined
  const byImage = writtenByImage(image)
  if (byFlavor === undefined) {
    if (byImage === undefined) return undefined
    throw forbidden(flavor, image, byImage, '<unset>', `set ${SPEC}=large or any on the flavor`)
  }
  const size = parsed(flavorLabel(flavor), SPEC, byFlavor)
  if (byImage === undefined) return size
  if (size === 'any' || size === 'large') return parsed(imageLabel(image), PROPERTY, byImage)
  throw forbidden(flavor, image, byImage, byFlavor, `set ${SPEC}=large or any on the flavor`)
}

/** Nova takes an empty value for none. */
function writtenByImage(image: ImageMeta): string | undefined {
  const value = image.properties[PROPERTY]
  return value === undefined || value === null || value === '' ? undefined : String(value)
}

/** Bytes per unit: oslo.utils' `string_to_bytes` in its IEC system, where K and Ki are both 1024. */
const EXPONENT: Readonly<Record<string, number>> = { '': 0, K: 1, M: 2, G: 3, T: 4, P: 5 }
const SIZE = /^(\d*\.?\d+)(?:([KMGTP])i?)?(b|bit|B)$/
/** What x86-64 can map (AMD64 Architecture Programmer's Manual, volume 2, "Page Translation"): 4 KiB, 2 MiB, 1 GiB. */
const SIZES_KIB: readonly number[] = [4, 2048, 1_048_576]

/** Digits alone count KiB. Nova takes any number here, and finds out on each host in turn that it has no such pages. */
function parsed(owner: string, property: string, value: string): MemoryPageSize {
  if (value === 'small' || value === 'large' || value === 'any') return value
  const kib = /^\d+$/.test(value) ? Number(value) : kibOf(value)
  if (SIZES_KIB.includes(kib)) return { kib }
  const fix = 'write small, large, any, or a size that x86 has: 4KB, 2MB, 1GB, or in KiB 4, 2048, 1048576'
  throw new MemoryPageSizeInvalid(`${owner} has ${property}=${JSON.stringify(value)}, which is no page size; ${fix}`, {
    owner,
    property,
    value: value.slice(0, 64),
    fix,
  })
}

/** NaN for what is no size. */
function kibOf(value: string): number {
  const [, magnitude, prefix = '', unit] = SIZE.exec(value) ?? []
  const bytes = (Number(magnitude) * 1024 ** (EXPONENT[prefix] ?? 0)) / (unit === 'B' ? 1 : 8)
  return Math.ceil(bytes) / 1024
}

function forbidden(flavor: Flavor, image: ImageMeta, byImage: string, byFlavor: string, fix: string) {
  return new MemoryPageSizeForbidden(
    `${imageLabel(image)} has ${PROPERTY}=${byImage}, which ${flavorLabel(flavor)} does not allow (${SPEC}=${byFlavor}); ${fix}, or remove ${PROPERTY}`,
    { flavor: flavor.name, image: image.id ?? null, property: PROPERTY, value: byImage, against: byFlavor, fix },
  )
}
