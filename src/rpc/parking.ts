import type { Logger } from 'pino'
import type { SevbusError } from '../errors.ts'
import { parkDeadLetter } from './dead-letters.ts'
import type { BusNames } from './names.ts'
import type { BusObserver } from './observer.ts'
import type { Delivery, Transport } from './transport.ts'

export interface ParkingOptions {
  readonly transport: Transport
  readonly names: BusNames
  readonly logger: Logger
  /** The topic whose messages are parked. */
  readonly from: string
  readonly observer: BusObserver | undefined
}

/** What is known of a message: of one that cannot be read, little. */
export interface ParkedRequest {
  readonly method: string
  readonly context: { readonly request_id: string | undefined }
}

export interface Failing {
  /** Only the latest of its kind counts. */
  readonly isTransient?: boolean
  readonly tries?: number
}

/** Where messages end that cannot be handled: with the dead letters, unless nobody would miss them. */
export class Parking {
  readonly #options: ParkingOptions

  constructor(options: ParkingOptions) {
    this.#options = options
  }

  /** A fanout that failed is over: others have copies of their own. What is transient is said again by the next one. */
  async settle(
    delivery: Delivery,
    error: SevbusError,
    { method: what, context }: ParkedRequest,
    { isTransient = false, tries = delivery.deliveryCount }: Failing = {},
  ): Promise<void> {
    if (!delivery.fanout && !isTransient) {
      const { logger, observer, from } = this.#options
      await parkDeadLetter(this.#options, from, delivery, error, tries)
      observer?.parked(error.code)
      const facts = { what, request_id: context.request_id, code: error.code, tries, reason: error.message }
      logger.error(facts, 'message parked as a dead letter')
    }
    delivery.ack()
  }
}
