import { toSevbusError } from '../errors.ts'
import type { Method } from './contract.ts'

/** What was asked of whom; both come from contracts, never from a message: anybody can write any name into one. */
export interface ObservedMethod {
  readonly service: string
  readonly method: string
}

/** How a call or cast ended. */
export interface ObservedOutcome {
  /** `ok`, or the code of its error. */
  readonly outcome: string
  readonly seconds: number
}

/**
 * What happens on the bus, for whoever counts it. Each is told in the middle of the work: returns at once, never throws.
 * Clients and servers without an observer do nothing for one.
 */
export interface BusObserver {
  /** A call or cast of ours begins; the returned function is told how it ended. */
  sending(method: ObservedMethod): (ended: ObservedOutcome) => void
  /** An endpoint of ours begins. */
  serving(method: ObservedMethod): (ended: ObservedOutcome) => void
  /** A message came that had been delivered before. */
  redelivered(): void
  /** A message was not worked on: malformed, of a sender who is not allowed, or for a method that nobody has. */
  refused(code: string): void
  /** A reply to a call of ours was not taken: malformed, or of a sender who is not allowed. */
  replyRefused(code: string): void
  /** A cast failed and will be tried again. */
  retried(method: ObservedMethod): void
  /** A message was put aside, for people. */
  parked(code: string): void
}

/** Does the work, and tells the observer when it begins and how it ends. */
export function observed<T>(
  observer: BusObserver | undefined,
  side: 'sending' | 'serving',
  { service }: { readonly service: string },
  { wire }: Pick<Method, 'wire'>,
  work: () => Promise<T>,
): Promise<T> {
  return observer === undefined ? work() : observedBy(observer, side, { service, method: wire }, work)
}

async function observedBy<T>(
  observer: BusObserver,
  side: 'sending' | 'serving',
  method: ObservedMethod,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now()
  const ended = observer[side](method)
  const tell = (outcome: string) => ended({ outcome, seconds: (performance.now() - startedAt) / 1000 })
  try {
    const result = await work()
    tell('ok')
    return result
  } catch (error) {
    tell(toSevbusError(error).code)
    throw error
  }
}
