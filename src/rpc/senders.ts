import { SenderNotAllowed } from '../errors.ts'
import type { Delivery } from './transport.ts'

/**
 * Why a message is not taken: nobody of the allowed sent it, or it does not say who did.
 *
 * @param allowed users of the broker; none of them is anyone
 * @returns undefined when it may be taken
 */
export function refusedSender({ userId }: Delivery, allowed: readonly string[]): SenderNotAllowed | undefined {
  if (allowed.length === 0 || (userId !== undefined && allowed.includes(userId))) return undefined
  const problem = userId === undefined ? 'does not say which user sent it' : `was sent by the user ${userId}`
  const fix = 'send it as a user that transport.allowed_senders names where it is taken, with the user-id property'
  return new SenderNotAllowed(`the message ${problem}; ${fix}`, { user_id: userId ?? null, fix })
}
