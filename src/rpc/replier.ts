import type { Logger } from 'pino'
import { MessageUndeliverable, toSevbusError } from '../errors.ts'
import { pause } from './abortable.ts'
import { encodeEnvelope } from './envelope.ts'
import { encodeFailure } from './failure.ts'
import { newMessageId } from './message-id.ts'
import type { Patience, Transport } from './transport.ts'

export interface ReplyAddress {
  readonly msgId: string
  readonly queue: string
  /** The client's call monitor: it wants a sign of life twice in this time. */
  readonly monitorSeconds?: number | undefined
}

/** A client that lost its queue declares it again under the same name; so long is the reply offered. */
const MISSING_QUEUE_RETRIES = 40
const MISSING_QUEUE_PAUSE_MS = 250

/** Sends replies and signs of life; a client that is gone costs a few retries and nothing else. */
export class Replier {
  readonly #transport: Transport
  readonly #logger: Logger
  readonly #end: AbortSignal
  readonly #patience: Patience

  /** @param end no reply is offered any longer */
  constructor(transport: Transport, logger: Logger, end: AbortSignal) {
    this.#transport = transport
    this.#logger = logger
    this.#end = end
    this.#patience = { signal: end }
  }

  async result(address: ReplyAddress, result: unknown): Promise<void> {
    let body: string
    try {
      body = encodeReply(address, result ?? null, null)
    } catch (error) {
      // What JSON cannot carry is an error that the caller hears of, and not a timeout.
      body = encodeReply(address, null, encodeFailure(error))
    }
    await this.#send(address, body)
  }

  async failure(address: ReplyAddress, failure: string): Promise<void> {
    await this.#send(address, encodeReply(address, null, failure))
  }

  /** Call `stop` before the final reply: Python clients fail on a sign of life after it. */
  signsOfLife({ msgId, queue, monitorSeconds }: ReplyAddress): { stop(): void } {
    if (monitorSeconds === undefined) return { stop() {} }
    const ended = new AbortController()
    const stop = () => {
      clearInterval(timer)
      ended.abort()
    }
    const show = () => {
      const alive = { result: null, failure: null, ending: false, _msg_id: msgId, _unique_id: newMessageId() }
      const message = { body: encodeEnvelope(alive), mandatory: true }
      this.#transport.publish({ kind: 'queue', queue }, message, ended).catch((error: unknown) => {
        // Nobody listens; of any other trouble the next one may know nothing.
        if (error instanceof MessageUndeliverable) stop()
      })
    }
    const timer = setInterval(show, (monitorSeconds * 1000) / 2)
    return { stop }
  }

  async #send({ queue }: ReplyAddress, body: string): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#transport.publish({ kind: 'queue', queue }, { body, mandatory: true }, this.#patience)
      } catch (thrown) {
        const error = toSevbusError(thrown)
        const missing = error instanceof MessageUndeliverable || error.retryable
        const isOver = this.#end.aborted || this.#transport.state === 'closed'
        if (!missing || tries > MISSING_QUEUE_RETRIES || isOver) {
          return this.#logger.warn({ queue, code: error.code }, `reply dropped: ${error.message}`)
        }
        await pause(MISSING_QUEUE_PAUSE_MS, this.#end)
      }
    }
  }
}

function encodeReply({ msgId }: ReplyAddress, result: unknown, failure: string | null): string {
  return encodeEnvelope({ result, failure, ending: true, _msg_id: msgId, _unique_id: newMessageId() })
}
