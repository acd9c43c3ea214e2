import { InvalidLibvirtMessage } from '../../../errors.ts'
import { type LifecycleEvent, lifecycleInWords } from './domain-words.ts'
import { decodePayload, type Frame } from './frame.ts'
import { EVENTS } from './procedures.ts'

/** What libvirt tells about guests. */
export type GuestEvent =
  | {
      readonly kind: 'lifecycle'
      readonly uuid: string
      readonly name: string
      readonly event: LifecycleEvent
      readonly detail: string
    }
  | { readonly kind: 'reboot'; readonly uuid: string; readonly name: string }
  /** Events may be missing here, and nobody knows which: ask for the state of all guests. */
  | { readonly kind: 'resync'; readonly why: string }

/** virDomainEventID */
export const EVENT_ID = { lifecycle: 0, reboot: 1 } as const

/** @returns undefined for a message that we do not know */
export function guestEvent(message: Frame): GuestEvent | undefined {
  try {
    if (message.procedure === EVENTS.lifecycle.number) {
      const { dom, event, detail } = decodePayload(message, EVENTS.lifecycle.message)
      return { kind: 'lifecycle', uuid: dom.uuid, name: dom.name, ...lifecycleInWords(event, detail) }
    }
    if (message.procedure === EVENTS.reboot.number) {
      const { uuid, name } = decodePayload(message, EVENTS.reboot.message).dom
      return { kind: 'reboot', uuid, name }
    }
    return undefined
  } catch (error) {
    if (!(error instanceof InvalidLibvirtMessage)) throw error
    return { kind: 'resync', why: `an event is not understood: ${error.message}` }
  }
}

/** A slow listener is told to look for itself rather than that a heap grows. */
const MOST_WAITING = 1_000

/** Events for one listener, in order; what it does not fetch in time becomes one `resync`. */
export class GuestEventStream implements AsyncIterableIterator<GuestEvent> {
  #waiting: GuestEvent[] = []
  readonly #listening: (() => void)[] = []
  #ended = false
  readonly #onEnd: () => void

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  push(event: GuestEvent): void {
    if (this.#waiting.length >= MOST_WAITING) {
      this.#waiting = [{ kind: 'resync', why: `${MOST_WAITING} events were not fetched` }]
    } else this.#waiting.push(event)
    this.#wake()
  }

  async next(): Promise<IteratorResult<GuestEvent, undefined>> {
    while (!this.#ended) {
      const event = this.#waiting.shift()
      if (event !== undefined) return { done: false, value: event }
      await new Promise<void>((resolve) => this.#listening.push(resolve))
    }
    return { done: true, value: undefined }
  }

  async return(): Promise<IteratorResult<GuestEvent, undefined>> {
    this.end()
    return { done: true, value: undefined }
  }

  end(): void {
    this.#ended = true
    this.#wake()
    this.#onEnd()
  }

  #wake(): void {
    for (const wake of this.#listening.splice(0)) wake()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
