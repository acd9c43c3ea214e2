import { InvalidProperty } from '../../errors.ts'
import { type ImageMeta, imageLabel } from '../../objects/image-meta.ts'

/** What the bytes of an image must come to. */
export interface ImageDigest {
  readonly algorithm: string
  /** Hexadecimal, small letters. */
  readonly value: string
  /** Where the request says it. */
  readonly field: string
}

/** Length in hexadecimal digits. Those that Glance may be told to use (`hashing_algorithm`), as far as they still hold. */
const ALGORITHMS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }
const MD5_LENGTH = 32

/**
 * What the request says about the bytes: Glance's `checksum`, which is MD5, and its `os_hash_algo` and `os_hash_value`,
 * which Nova's image object has no fields for: they come as properties. None of them: nothing is checked but the format.
 *
 * @throws InvalidProperty for what is no digest
 */
export function imageDigests(image: ImageMeta): readonly ImageDigest[] {
  const digests: ImageDigest[] = []
  const { checksum } = image
  if (typeof checksum === 'string') {
    digests.push({ algorithm: 'md5', value: hexadecimal(image, 'checksum', checksum, MD5_LENGTH), field: 'checksum' })
  }
  const { os_hash_algo: algorithm, os_hash_value: value } = image.properties
  if (algorithm === undefined && value === undefined) return digests
  const length = typeof algorithm === 'string' ? ALGORITHMS[algorithm] : undefined
  if (length === undefined) {
    const known = Object.keys(ALGORITHMS).join(', ')
    throw invalid(image, 'os_hash_algo', algorithm, `write one of ${known} beside os_hash_value`)
  }
  const hash = hexadecimal(image, 'os_hash_value', value, length)
  return [...digests, { algorithm: String(algorithm), value: hash, field: 'os_hash_value' }]
}

function hexadecimal(image: ImageMeta, property: string, value: unknown, length: number): string {
  if (typeof value === 'string' && value.length === length && /^[0-9a-f]+$/i.test(value)) return value.toLowerCase()
  throw invalid(image, property, value, `write ${length} hexadecimal digits`)
}

function invalid(image: ImageMeta, property: string, value: unknown, fix: string): InvalidProperty {
  const owner = imageLabel(image)
  return new InvalidProperty(`${owner} has ${property}=${value}; ${fix}`, { owner, property, value, fix })
}
