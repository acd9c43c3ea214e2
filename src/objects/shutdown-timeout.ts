import { InvalidProperty } from '../errors.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'

const PROPERTY = 'os_shutdown_timeout'
/** A day: whoever stops an instance waits for it. */
const MAX_SECONDS = 86_400

/**
 * How long a guest of this image may take to shut down before its power is taken, in seconds: Nova's property, in place of
 * the host's option. Undefined: as the host has it.
 *
 * @throws InvalidProperty
 */
export function shutdownTimeoutSeconds(image: ImageMeta): number | undefined {
  const value = image.properties[PROPERTY]
  if (value === undefined || value === null) return undefined
  const seconds = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value)
  if (typeof value !== 'boolean' && Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_SECONDS) return seconds
  const owner = imageLabel(image)
  const fix = `write whole seconds, 0 to ${MAX_SECONDS}`
  throw new InvalidProperty(`${owner} has ${PROPERTY}=${JSON.stringify(value)}, which means nothing; ${fix}`, {
    owner,
    property: PROPERTY,
    value,
    fix,
  })
}
