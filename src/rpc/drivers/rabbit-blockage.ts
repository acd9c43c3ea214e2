import type { ChannelModel } from 'amqplib'
import { abortable } from '../abortable.ts'

/**
 * Whether the broker takes messages on a connection. Short of memory or disk it stops reading from those that publish
 * (`connection.blocked`): what is written then would pile up in the socket's buffer, so nothing is.
 */
export class Blockage {
  readonly #tell: (reason: string | undefined) => void
  #reason: string | undefined
  #over = Promise.resolve()
  #end: () => void = () => {}
  #started: () => void = () => {}
  #begun = this.#nextBegin()
  #model: ChannelModel | undefined

  /** @param tell given the broker's reason at each beginning, nothing at each end */
  constructor(tell: (reason: string | undefined) => void) {
    this.#tell = tell
  }

  /** In the broker's words (`low on memory`); undefined while it takes messages. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** Resolves when the broker says that it takes none, now or later. @throws the signal's reason */
  begun(signal?: AbortSignal): Promise<void> {
    return abortable(this.#begun, signal)
  }

  /** Resolves when the broker takes messages again, or the connection is gone. @throws the signal's reason */
  over(signal?: AbortSignal): Promise<void> {
    return abortable(this.#over, signal)
  }

  /** Of one connection at a time: the latest. */
  watch(model: ChannelModel): void {
    this.#finish()
    this.#model = model
    model.on('blocked', (reason) => this.#begin(model, reason || 'it does not say why'))
    for (const event of ['unblocked', 'close'] as const) {
      model.on(event, () => {
        if (this.#model === model) this.#finish()
      })
    }
  }

  #begin(model: ChannelModel, reason: string): void {
    if (this.#model !== model) return
    if (this.#reason === undefined) {
      this.#over = new Promise((resolve) => {
        this.#end = resolve
      })
    }
    this.#reason = reason
    this.#started()
    this.#tell(reason)
  }

  #finish(): void {
    if (this.#reason === undefined) return
    this.#reason = undefined
    this.#begun = this.#nextBegin()
    this.#end()
    this.#tell(undefined)
  }

  #nextBegin(): Promise<void> {
    return new Promise((resolve) => {
      this.#started = resolve
    })
  }
}
