import { InternalError, isHopeless, type SevbusError, toSevbusError } from '../errors.ts'
import { pause } from './abortable.ts'
import { deliveriesOf, sendAgainCounted } from './delivery-count.ts'
import type { Dispatch } from './dispatcher.ts'
import type { Endpoints } from './endpoints.ts'
import { Limiter } from './limiter.ts'
import type { BusObserver } from './observer.ts'
import type { Parking } from './parking.ts'
import type { Request } from './request.ts'
import type { Delivery, Transport } from './transport.ts'

/** RabbitMQ 4 drops a message of a quorum queue on its 20th return; what crashes its workers is parked before. */
const MAX_UNFINISHED_DELIVERIES = 15
/** Once may be a lost connection or a restart. One that comes the third time may be what ends its workers. */
const UNSUSPECTED_DELIVERIES = 2
/** How many times the pause between two tries is waited in an outage. */
const OUTAGE_PAUSES = 5

export interface CastTriesOptions {
  readonly transport: Transport
  readonly endpoints: Endpoints
  readonly parking: Parking
  readonly service: string
  readonly observer: BusObserver | undefined
  readonly maxDeliveries: number
  readonly retryDelayMs: number
  /** Running work is to stop: what is not done goes back to the queue. */
  readonly signal: AbortSignal
}

/**
 * At least once: a cast is tried until it is done, hopeless, or tried often enough; then it is parked.
 *
 * One that ends its worker's process is told from those that were only there at the time: what was delivered before more
 * than once is tried alone, in its order. So those before it get done, and the first that is over the limit is it. It
 * alone is parked; the others, which have been delivered as often, are tried once more.
 */
export class CastTries {
  readonly #options: CastTriesOptions
  readonly #suspects = new Limiter(1)
  #hasParkedSuspect = false

  constructor(options: CastTriesOptions) {
    this.#options = options
  }

  /** Settles the delivery. @returns whether a repeat of the message has nothing to do any more */
  async serve(delivery: Delivery, request: Request, found: Dispatch): Promise<boolean> {
    if (!delivery.isCounted && !delivery.fanout) {
      await sendAgainCounted(this.#options.transport, delivery)
      return false
    }
    const deliveries = deliveriesOf(delivery)
    if (deliveries <= UNSUSPECTED_DELIVERIES) return await this.#try(delivery, request, found, deliveries)
    return await this.#suspects.run(async () => {
      if (this.#endsWorkers(deliveries)) return await this.#parkSuspect(delivery, request, found, deliveries)
      return await this.#try(delivery, request, found, deliveries)
    })
  }

  #endsWorkers(deliveries: number): boolean {
    return !this.#hasParkedSuspect && deliveries > Math.max(MAX_UNFINISHED_DELIVERIES, this.#options.maxDeliveries)
  }

  async #parkSuspect(delivery: Delivery, request: Request, { method }: Dispatch, deliveries: number): Promise<boolean> {
    const { isTransient = false } = method
    this.#hasParkedSuspect = true
    const text = `delivered ${deliveries} times and never finished: it may be what ends its workers`
    await this.#options.parking.settle(delivery, new InternalError(text), request, { isTransient, tries: deliveries })
    return false
  }

  async #try(delivery: Delivery, request: Request, found: Dispatch, deliveries: number): Promise<boolean> {
    const { endpoints, parking, service, observer, maxDeliveries, retryDelayMs, signal } = this.#options
    const { isTransient = false, wire } = found.method
    let tries = deliveries
    while (!delivery.lost) {
      const failure = await endpoints.run(request, found).then(() => undefined, failureOf)
      if (failure === undefined) {
        acknowledge(delivery, found)
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

/** What the next message says again may come twice. */
function acknowledge(delivery: Delivery, { method: { isTransient = false } }: Dispatch): void {
  delivery.ack(isTransient ? 'soon' : 'now')
}

interface Failure {
  readonly thrown: unknown
  readonly error: SevbusError
  readonly isHopeless: boolean
}

function failureOf(thrown: unknown): Failure {
  const error = toSevbusError(thrown)
  return { thrown, error, isHopeless: isHopeless(thrown) }
}
