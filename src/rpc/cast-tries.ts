import { InternalError, SevbusError, toSevbusError } from '../errors.ts'
import { pause } from './abortable.ts'
import type { Dispatch } from './dispatcher.ts'
import type { Endpoints } from './endpoints.ts'
import type { BusObserver } from './observer.ts'
import type { Parking } from './parking.ts'
import type { Request } from './request.ts'
import type { Delivery } from './transport.ts'

/**
 * RabbitMQ 4 drops a message of a quorum queue on its 20th return; what crashes its workers is parked before. On classic
 * queues the broker does not count beyond 2 (it only tells that a message was delivered before): there it never applies.
 */
const MAX_UNFINISHED_DELIVERIES = 15
/** How many times the pause between two tries is waited in an outage. */
const OUTAGE_PAUSES = 5

export interface CastTriesOptions {
  readonly endpoints: Endpoints
  readonly parking: Parking
  readonly service: string
  readonly observer: BusObserver | undefined
  readonly maxDeliveries: number
  readonly retryDelayMs: number
  /** Running work is to stop: what is not done goes back to the queue. */
  readonly signal: AbortSignal
}

/** At least once: a cast is tried until it is done, hopeless, or tried often enough; then it is parked. */
export class CastTries {
  readonly #options: CastTriesOptions

  constructor(options: CastTriesOptions) {
    this.#options = options
  }

  /** Settles the delivery. @returns whether a repeat of the message has nothing to do any more */
  async serve(delivery: Delivery, request: Request, found: Dispatch): Promise<boolean> {
    const { endpoints, parking, service, observer, maxDeliveries, retryDelayMs, signal } = this.#options
    const { isTransient = false, wire } = found.method
    if (delivery.deliveryCount > Math.max(MAX_UNFINISHED_DELIVERIES, maxDeliveries)) {
      const text = `delivered ${delivery.deliveryCount} times and never finished: it may be what ends its workers`
      await parking.settle(delivery, new InternalError(text), request, { isTransient })
      return false
    }
    let tries = delivery.deliveryCount
    while (!delivery.lost) {
      const failure = await endpoints.run(request, found).then(() => undefined, failureOf)
      if (failure === undefined) {
        delivery.ack()
        return true
      }
      endpoints.logFailure(request, failure.thrown)
      if (signal.aborted) break
      const { error, isHopeless } = failure
      const isOver = delivery.fanout || isTransient || isHopeless || (!error.isOutage && tries >= maxDeliveries)
      if (isOver) {
        await parking.settle(delivery, error, request, { isTransient, tries })
        return false
      }
      observer?.retried({ service, method: wire })
      // While the database is away it is not the message that fails: it waits, and no try is counted.
      if (!error.isOutage) tries++
      await pause(retryDelayMs * (error.isOutage ? OUTAGE_PAUSES : tries), signal)
    }
    delivery.requeue()
    return false
  }
}

interface Failure {
  readonly thrown: unknown
  readonly error: SevbusError
  /** It will fail like this always. A foreign error is a defect or an accident, and an accident may pass. */
  readonly isHopeless: boolean
}

function failureOf(thrown: unknown): Failure {
  const error = toSevbusError(thrown)
  return { thrown, error, isHopeless: thrown instanceof SevbusError && !error.retryable }
}
