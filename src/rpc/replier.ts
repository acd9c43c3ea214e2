import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'
import { encodeEnvelope } from './envelope.ts'
import { encodeFailure } from './failure.ts'
import { LostReplies, mayPass } from './lost-replies.ts'
import { newMessageId } from './message-id.ts'
import type { Patience, Transport } from './transport.ts'

export interface ReplyAddress {
  readonly msgId: string
  readonly queue: string
  /** The client's call monitor: it wants a sign of life twice in this time. */
  readonly monitorSeconds?: number | undefined
}

/** Sends replies and signs of life; a client that is gone costs a few more offers and nothing else. */
export class Replier {
  readonly #transport: Transport
  readonly #logger: Logger
  readonly #patience: Patience
  readonly #lost: LostReplies

  /** @param end no reply is offered any longer */
  constructor(transport: Transport, logger: Logger, end: AbortSignal) {
    this.#transport = transport
    this.#logger = logger
    this.#patience = { signal: end }
    this.#lost = new LostReplies(transport, (queue, reason) => this.#drop(queue, reason), end)
  }

  result(address: ReplyAddress, result: unknown): Promise<void> {
    let body: string
    try {
      body = encodeReply(address, result ?? null, null)
    } catch (error) {
      // What JSON cannot carry is an error that the caller hears of, and not a timeout.
      body = encodeReply(address, null, encodeFailure(error))
    }
    return this.#send(address, body)
  }

  failure(address: ReplyAddress, failure: string): Promise<void> {
    return this.#send(address, encodeReply(address, null, failure))
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
      // Nobody there, or any other trouble: at the time of the next one it may be over.
      this.#transport.publish({ kind: 'queue', queue }, message, ended).catch(() => {})
    }
    const timer = setInterval(show, (monitorSeconds * 1000) / 2)
    return { stop }
  }

  async #send({ queue }: ReplyAddress, body: string): Promise<void> {
    const reply = { body, mandatory: true }
    try {
      await this.#transport.publish({ kind: 'queue', queue }, reply, this.#patience)
    } catch (thrown) {
      const error = toSevbusError(thrown)
      if (mayPass(error) && this.#transport.state !== 'closed') this.#lost.keep(queue, reply, error.message)
      else this.#drop(queue, error.message)
    }
  }

  /** Resolves when no reply waits for its queue to come back. */
  idle(): Promise<void> {
    return this.#lost.idle()
  }

  #drop(queue: string, reason: string): void {
    this.#logger.warn({ queue, reason }, 'a reply was dropped: whoever asked has gone')
  }
}

function encodeReply({ msgId }: ReplyAddress, result: unknown, failure: string | null): string {
  return encodeEnvelope({ result, failure, ending: true, _msg_id: msgId, _unique_id: newMessageId() })
}
