import type { DatabaseOutbox } from '../database/outbox.ts'
import type { OperatingEvents } from '../notifications/operating-events.ts'
import type { SelectionEvents } from '../notifications/selection-events.ts'
import type { DurableMessage, StoredMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'

/** Whose messages in the outbox are the schedulers'. */
export const OUTBOX_OWNER = 'scheduler'

/** Notifications of what happens here: stored in the transaction of that, and sent after it. */
export interface Telling extends Pick<DatabaseOutbox, 'enqueue' | 'storing'> {
  readonly events: OperatingEvents
  /** Undefined: nobody is told of requests for hosts. */
  readonly selections?: SelectionEvents | undefined
  /** A statement is committed that has stored these, and taken them: send them now. */
  offer(messages: readonly StoredMessage[]): void
  /** Stores these by themselves, and sends them. */
  tell(messages: readonly DurableMessage[]): Promise<void>
  /** The transaction is committed: send now. */
  announce(): void
}

/** Who is to be told of what a request does; undefined where nobody is. */
export type Told = { readonly telling: Telling; readonly context: RequestContext } | undefined

export function toldOf(telling: Telling | undefined, context: RequestContext): Told {
  return telling && { telling, context }
}
