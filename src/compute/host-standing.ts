import type { Logger } from 'pino'
import { ServiceStopping, type SevbusError } from '../errors.ts'

/** What takes the requests for this host: the RPC server. */
interface HostServer {
  readonly isServing: boolean
  start(): Promise<void>
  /** Lets what is in hand end, gives back the rest, and can be started again. */
  pause(): Promise<void>
}

export interface HostStandingOptions {
  readonly host: string
  readonly server: HostServer
  /** Does nobody else take what is sent to this host's name? Asked when no scheduler answers. */
  readonly isAlone: () => Promise<boolean>
  /** Requests are taken from now on. */
  readonly onServing: () => void
  readonly logger: Logger
}

/**
 * Is this worker the one of its host? Two that share a host's name share its queue as well: each would get half of the
 * other's work, and would report guests as gone that the other has. So a worker takes requests once the schedulers take
 * its reports, and no more when they take another worker's. Where no scheduler says anything, being the only one on the
 * host's queue will do.
 */
export class HostStanding {
  readonly #options: HostStandingOptions
  #refusal: SevbusError | undefined
  #pausing: Promise<void> | undefined
  #break: (error: unknown) => void = () => {}
  /** Rejects when requests cannot be taken although they should. Never resolves. */
  readonly broken = new Promise<never>((_, reject) => {
    this.#break = reject
  })

  constructor(options: HostStandingOptions) {
    this.#options = options
    this.broken.catch(() => {})
  }

  get isServing(): boolean {
    return this.#options.server.isServing
  }

  async accepted(): Promise<void> {
    const { host, logger } = this.#options
    if (this.#refusal !== undefined) logger.warn({ host }, 'this worker is the one of its host now')
    this.#refusal = undefined
    await this.#serve()
  }

  /** What it has begun goes on; nothing new comes in. */
  refused(error: SevbusError): void {
    const { host, server, logger } = this.#options
    const isNews = this.#refusal?.code !== error.code
    this.#refusal = error
    const facts = { host, code: error.code, ...error.details }
    if (isNews) logger.error(facts, `this worker takes no requests: ${error.message}`)
    // Not waited for: what is in hand may wait for this.
    if (server.isServing) {
      this.#pausing = server.pause().catch((err: unknown) => logger.warn({ host, err }, 'the pause was not orderly'))
    }
  }

  /** No scheduler has said whose reports are taken. Who was refused waits until one does. */
  async unanswered(): Promise<void> {
    const { server, isAlone, host, logger } = this.#options
    if (server.isServing || this.#refusal !== undefined) return
    if (await isAlone()) return await this.#serve()
    logger.warn({ host }, 'another worker serves this host name, and no scheduler says which it is to be: waiting')
  }

  /** @throws ServiceStopping: the message is for the other worker */
  throwIfRefused(): void {
    if (this.#refusal === undefined) return
    throw new ServiceStopping(`this worker is not the one of host ${this.#options.host}: ${this.#refusal.message}`)
  }

  async #serve(): Promise<void> {
    const { server, onServing } = this.#options
    if (server.isServing) return
    await this.#pausing
    try {
      await server.start()
    } catch (error) {
      this.#break(error)
      throw error
    }
    onServing()
  }
}
