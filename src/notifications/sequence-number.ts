import { z } from 'zod'
import { InvalidMessage } from '../errors.ts'
import { MAX_SEQUENCE } from '../objects/event-sequence.ts'
import type { AnyNotification } from './notification.ts'

const Numbered = z.object({ uuid: z.guid().toLowerCase(), sequence: z.int().min(1).max(MAX_SEQUENCE) })
/** A notification's place: whose it is, and its number among all of its instance. */
export type Numbered = z.infer<typeof Numbered>

/**
 * Undefined: it is about no instance, or Nova's, which has no numbers.
 *
 * @throws InvalidMessage for a number that no conductor gives, or of no instance
 */
export function numberOf({ payload }: Pick<AnyNotification, 'payload'>): Numbered | undefined {
  const said = saidOf(payload)
  if (said.sequence === undefined) return undefined
  const result = Numbered.safeParse(said)
  if (result.success) return result.data
  const fields = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
  const fix = `a sender numbers 1 to ${MAX_SEQUENCE} (sevbus.sequence), and for an instance's uuid`
  throw new InvalidMessage(`not a numbered notification: ${fields}; ${fix}`, { fields, fix })
}

/** The same as it is said, be it none. */
export function saidOf(payload: unknown): { readonly uuid: unknown; readonly sequence: unknown } {
  const { sevbus, 'nova_object.data': data } = (payload ?? {}) as {
    readonly sevbus?: { readonly sequence?: unknown } | null
    readonly 'nova_object.data'?: { readonly uuid?: unknown; readonly instance_uuid?: unknown } | null
  }
  return { uuid: data?.instance_uuid ?? data?.uuid, sequence: sevbus?.sequence }
}
