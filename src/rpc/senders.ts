import { SenderNotAllowed } from '../errors.ts'
import type { Delivery, Transport } from './transport.ts'

/** Whose messages are taken: by name of their user of the broker, who is known by the broker's check only. */
export class AllowedSenders {
  readonly #transport: Pick<Transport, 'userId'>
  readonly #users: readonly string[]

  /** @param users none of them is anyone; what we tell ourselves over the transport is taken always */
  constructor(transport: Pick<Transport, 'userId'>, users: readonly string[] = []) {
    this.#transport = transport
    this.#users = users
  }

  /** Why a message is not taken: nobody of these sent it, or it does not say who did. Undefined: it may be taken. */
  refusalOf({ userId }: Delivery): SenderNotAllowed | undefined {
    if (this.#users.length === 0) return undefined
    if (userId !== undefined && (this.#users.includes(userId) || userId === this.#transport.userId)) return undefined
    const problem = userId === undefined ? 'does not say which user sent it' : `was sent by the user ${userId}`
    const fix = 'send it as a user that transport.allowed_senders names where it is taken, with the user-id property'
    return new SenderNotAllowed(`the message ${problem}; ${fix}`, { user_id: userId ?? null, fix })
  }
}
