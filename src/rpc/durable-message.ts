import type { TraceHeaders } from './trace-context.ts'
import type { Destination } from './transport.ts'

/**
 * A message that is stored before it is sent: it leaves only when the broker has confirmed, and keeps its ids however
 * often it is sent, so that receivers can tell a duplicate.
 */
export interface DurableMessage {
  readonly to: Destination
  readonly body: string
  readonly mandatory: boolean
  /** The trace it belongs to. */
  readonly headers?: TraceHeaders
  /** Messages of one key leave in the order they were stored: the uuid of the instance they are about. */
  readonly orderingKey: string
  /**
   * Where this stands in the body goes its number among the numbered messages of its key, which the store counts from 1,
   * without gaps, as it stores them. Only tables can: those who store for one key share them.
   */
  readonly numberMark?: string
}

/** As the store has it, and as it is sent. */
export function numbered({ numberMark, ...message }: DurableMessage, number: number | null): DurableMessage {
  if (numberMark === undefined || number === null) return message
  return { ...message, body: message.body.replace(numberMark, String(number)) }
}

/** What was stored and waits, with the id it is settled by. */
export interface StoredMessage extends DurableMessage {
  readonly id: string
  /** How often it could not be sent so far; the store counts. */
  readonly failures: number
}

/** What waits in a store. */
export interface Backlog {
  readonly messages: number
  /** Of the message that has waited longest; undefined when there is none. */
  readonly oldestAgeSeconds: number | undefined
}

/** How long what was taken stays with the sender that took it. */
export interface Lease {
  /** After so many milliseconds it is another's: this sender may have died. */
  readonly ms: number
  /** They are still on their way: as long again from now. */
  renew(ids: readonly string[]): Promise<void>
}

/** Where durable messages wait: a table, or a journal on disk. */
export interface MessageStore {
  /** Of a store that several senders take from. */
  readonly lease?: Lease
  /** Takes up to `limit` messages that are due for this sender for a while; none that has an older one of its key before it. */
  take(limit: number): Promise<readonly StoredMessage[]>
  /** The broker has confirmed them: forget them. @returns whether some waited behind them, which may be due now */
  sent(ids: readonly string[]): Promise<boolean>
  /** Not sent now: try again no sooner than in `delayMs`. */
  postpone(id: string, delayMs: number, reason: string): Promise<void>
}

/** A store that tells how much waits in it. */
export interface Backlogged {
  /** All that wait, whoever will send them. */
  backlog(): Promise<Backlog>
}
