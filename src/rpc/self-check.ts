import type { Logger } from 'pino'
import { MessagingTimeout, NoSuchServer, ServiceStopping, TopologyMismatch, WorkerDeaf } from '../errors.ts'
import { abortable, pause } from './abortable.ts'
import type { RpcClient } from './client.ts'
import { Deadline } from './deadline.ts'
import { pingApiOf } from './ping.ts'
import { newRequestContext } from './request-context.ts'
import type { Transport } from './transport.ts'

/** So often is everything connected anew before a worker gives itself up. */
const MAX_REPAIRS = 3
/** For the self-call, for the broker's answer about our consumers, and for connecting anew: each. */
const TIMEOUT_MS = 10_000

/** The server that checks itself: where it is called, and what tells a busy one from a deaf one. */
export interface CheckedServer {
  readonly service: string
  readonly server: string
  /** False: it takes nothing, and should not. */
  readonly isServing: boolean
  /** All hands are busy: the prefetch may be used up, and the broker then delivers nothing, no ping either. */
  readonly isFull: boolean
  /** How many requests have come by its own name, pings not counted. */
  readonly heardByName: number
}

export interface SelfCheckOptions {
  readonly transport: Transport
  /** Of the same process: its reply queue is what is checked, too. */
  readonly client: RpcClient
  readonly server: CheckedServer
  readonly logger: Logger
  /** From the end of one check to the next; 0: never. */
  readonly intervalMs: number
  readonly timeoutMs?: number
}

export interface SelfCheckCounts {
  readonly checks: number
  /** Times everything was connected anew. */
  readonly repairs: number
}

/**
 * Notices that a worker has become deaf: its connection is well, but a consumer, a binding or the reply queue is lost, so
 * that it looks alive and gets nothing. It calls itself through its own queue and reply queue, and asks the broker about
 * its consumers. Either trouble is met by new connections, on which everything is declared and consumed again, even where
 * declaring alone would mend it: what a lost consumer has swallowed comes back only when its channel is closed. What they
 * do not mend breaks the worker.
 *
 * Silence is not deafness where something else explains it:
 * - the server is paused: it takes nothing by intent;
 * - no connection, or a broker that takes no messages: the transport waits, says so and goes on by itself;
 * - all hands are busy, or other requests arrive by the same queue: the self-call waits behind them. Pings need no hand,
 *   but with the whole prefetch unacknowledged the broker delivers none; then only the broker is asked.
 */
export class SelfCheck {
  readonly #options: Required<SelfCheckOptions>
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  readonly #counts = { checks: 0, repairs: 0 }
  #break: (error: WorkerDeaf) => void = () => {}
  /** Rejects with WorkerDeaf. Never resolves. */
  readonly broken = new Promise<never>((_, reject) => {
    this.#break = reject
  })

  constructor(options: SelfCheckOptions) {
    this.#options = { timeoutMs: TIMEOUT_MS, ...options }
    const { logger } = this.#options
    this.broken.catch((error: WorkerDeaf) =>
      logger.fatal({ code: error.code, reason: error.message }, 'deaf; stopping'),
    )
  }

  get counts(): SelfCheckCounts {
    return this.#counts
  }

  start(): void {
    if (this.#options.intervalMs > 0) this.#running ??= this.#run()
  }

  /** Gives up what it is at. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new ServiceStopping('the worker is stopping'))
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    for (;;) {
      await pause(this.#options.intervalMs, signal)
      if (signal.aborted) return
      try {
        await this.#check()
      } catch (error) {
        if (error instanceof WorkerDeaf) return this.#break(error)
        if (!signal.aborted) this.#options.logger.warn({ err: error }, 'the self-check could not be done')
      }
    }
  }

  /** @throws WorkerDeaf, or when it is closed meanwhile */
  async #check(): Promise<void> {
    const { transport, logger } = this.#options
    this.#counts.checks++
    for (let repairs = 0; ; repairs++) {
      const trouble = await this.#findTrouble()
      this.#stop.signal.throwIfAborted()
      if (trouble === undefined) {
        if (repairs > 0) logger.info({ repairs }, 'messages arrive again')
        return
      }
      if (repairs === MAX_REPAIRS) throw this.#deaf(trouble)
      logger.warn({ reason: trouble, repairs }, 'messages do not arrive here; connecting anew')
      this.#counts.repairs++
      await abortable(transport.reconnect('the self-check heard nothing by it'), this.#stop.signal)
      // The broker has gone away: that is another trouble, and the transport's.
      if (!(await this.#isBack())) return
    }
  }

  /** Undefined also when nothing can be told now. */
  async #findTrouble(): Promise<string | undefined> {
    const troubles = [await this.#callSelf(), await this.#askBroker()].filter((trouble) => trouble !== undefined)
    return troubles.length === 0 || !this.#canTell ? undefined : troubles.join('; ')
  }

  async #callSelf(): Promise<string | undefined> {
    const { client, server, timeoutMs } = this.#options
    if (!this.#canTell) return undefined
    const { service, server: name, heardByName } = server
    try {
      const { ping } = client.of(pingApiOf(service))
      await ping(newRequestContext(), {}, { server: name, timeoutMs, signal: this.#stop.signal })
      return undefined
    } catch (error) {
      if (error instanceof NoSuchServer) return `no queue takes what is sent to ${service} ${name}`
      // Its user may not write there any more: what others send it may come, and no call or answer of its own goes out.
      if (error instanceof TopologyMismatch) return error.message
      // Any other error has come as an answer, or tells of the connection.
      if (!(error instanceof MessagingTimeout)) return undefined
      return server.isFull || server.heardByName !== heardByName
        ? undefined
        : `a call to itself had no reply within ${timeoutMs} ms`
    }
  }

  async #askBroker(): Promise<string | undefined> {
    const { transport, timeoutMs } = this.#options
    using deadline = new Deadline('asking the broker about our queues', timeoutMs, this.#stop.signal)
    try {
      const troubles = await transport.check(deadline.signal)
      return troubles.length === 0 ? undefined : troubles.join('; ')
    } catch (error) {
      return error instanceof MessagingTimeout ? error.message : undefined
    }
  }

  async #isBack(): Promise<boolean> {
    const { transport, timeoutMs } = this.#options
    using deadline = new Deadline('connecting anew', timeoutMs, this.#stop.signal)
    return await transport.connect(deadline.signal).then(
      () => true,
      () => false,
    )
  }

  get #canTell(): boolean {
    const { transport, server } = this.#options
    return transport.state === 'connected' && transport.blocked === undefined && server.isServing
  }

  #deaf(reason: string): WorkerDeaf {
    const { service, server } = this.#options.server
    const fix = 'look at its queues and bindings on the broker, and at the permissions of its user, then start it again'
    const text = `${service} ${server} does not get its messages, and ${MAX_REPAIRS} new connections did not mend it`
    return new WorkerDeaf(`${text}: ${reason}; ${fix}`, { service, server, reason, fix })
  }
}
