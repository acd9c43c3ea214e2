import { randomUUID } from 'node:crypto'
import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'
import { InvalidConfiguration, TopologyMismatch, TransportUnavailable } from '../../errors.ts'
import { pause } from '../abortable.ts'
import { Backoff } from '../backoff.ts'
import type { DeliveryHandler, Listener, Source } from '../transport.ts'
import { NoAnswer } from './rabbit-answer.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import { RabbitConsuming } from './rabbit-consuming.ts'
import { subscriptionOf, type Topology } from './rabbit-topology.ts'

/** Who is asked in the moment when it begins to consume again is given so long. */
const BEGIN_TIMEOUT_MS = 5_000
const BEGIN_POLL_MS = 100
/** After so many questions in a row that the broker did not answer, a new connection may do what a new channel does not. */
const FEW_UNANSWERED = 3
/** Where it did not, twice as many are borne, and so on until these, half an hour: others consume by the connection as well. */
const MANY_UNANSWERED = 32 * FEW_UNANSWERED

export interface RabbitListenerOptions {
  readonly connection: RabbitConnection
  readonly source: Source
  readonly handler: DeliveryHandler
  readonly prefetch: number
  readonly gatherMs?: number
  /** So long the broker may take for each declaration and each consumer, in milliseconds. */
  readonly answerTimeoutMs?: number | undefined
  readonly topology: Topology
  readonly logger: Logger
}

/** Consumes, on a channel of its own, through lost connections, closed channels and deleted queues. */
export class RabbitListener implements Listener {
  readonly #options: RabbitListenerOptions
  readonly #id = newId()
  readonly #stop = new AbortController()
  readonly #backoff = new Backoff()
  #consuming: RabbitConsuming | undefined
  #running: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #closed: Promise<void> | undefined
  #trouble = 'it has not begun yet'
  /** The connection that was asked last, and how many questions in a row it has left unanswered. */
  #asked: ChannelModel | undefined
  #unanswered = 0
  /** So many of them are borne. */
  #patience = FEW_UNANSWERED

  constructor(options: RabbitListenerOptions) {
    this.#options = options
  }

  /** Resolves when messages can arrive. @throws TopologyMismatch, or TransportUnavailable when closed meanwhile */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#running = this.#run(resolve).then(
        () => reject(new TransportUnavailable('the listener was closed before it could listen')),
        reject,
      )
    })
  }

  stop(): Promise<void> {
    this.#stop.abort()
    this.#stopped ??= this.#consuming?.cancel() ?? Promise.resolve()
    return this.#stopped
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  /** Whether messages still come: see the port. @returns what is wrong; nothing without a connection, or when stopped */
  async check(): Promise<readonly string[]> {
    const { connection } = this.#options
    for (let waited = 0; !this.#stop.signal.aborted; waited += BEGIN_POLL_MS) {
      const model = connection.current
      if (model === undefined) return []
      // On another it is open until that is closed, and consumes nothing any more.
      if (this.#asked === model && this.#consuming?.isOpen) return await this.#consuming.check(model)
      if (waited >= BEGIN_TIMEOUT_MS) return [`it cannot consume: ${this.#trouble}`]
      await pause(BEGIN_POLL_MS, this.#stop.signal)
    }
    return []
  }

  async #close(): Promise<void> {
    await this.stop()
    await this.#consuming?.close()
    await this.#running
  }

  /** @throws TopologyMismatch of the first declaration; later ones may be mended while we try again */
  async #run(onStarted: () => void): Promise<void> {
    let started = false
    while (!this.#stop.signal.aborted) {
      let openedAt = Number.POSITIVE_INFINITY
      try {
        const consuming = await this.#open()
        this.#unanswered = 0
        this.#patience = FEW_UNANSWERED
        openedAt = performance.now()
        started = true
        onStarted()
        this.#say('consuming was interrupted; beginning again', await consuming.lost)
      } catch (error) {
        const isFinal = isOver(error) || (!started && error instanceof TopologyMismatch)
        if (isFinal && !this.#stop.signal.aborted) throw error
        this.#say('cannot consume now; trying again', error)
        await this.#heed(error)
      }
      await pause(this.#backoff.nextMs(performance.now() - openedAt), this.#stop.signal)
    }
  }

  /** A channel is anew at each try; a connection, which others share, only when that does not help. */
  async #heed(error: unknown): Promise<void> {
    this.#unanswered = error instanceof NoAnswer ? this.#unanswered + 1 : 0
    if (this.#unanswered < this.#patience) return
    await this.#options.connection.reconnect((error as NoAnswer).message, this.#asked)
  }

  #say(what: string, thrown: unknown): void {
    if (this.#stop.signal.aborted) return
    const reason = thrown instanceof Error ? thrown.message : String(thrown)
    this.#trouble = reason
    const level = thrown instanceof TopologyMismatch ? 'error' : 'warn'
    this.#options.logger[level]({ source: this.#options.source, reason }, what)
  }

  async #open(): Promise<RabbitConsuming> {
    const { connection, source, topology } = this.#options
    const { signal } = this.#stop
    const model = await connection.ready(signal)
    if (model !== this.#asked) {
      // Whoever wanted it: it is one more that this may be of no use to.
      if (this.#unanswered > 0) this.#patience = Math.min(2 * this.#patience, MANY_UNANSWERED)
      this.#unanswered = 0
      this.#asked = model
    }
    // An exclusive queue of a connection that the broker has not missed yet would be locked under its old name.
    const id = source.kind === 'notification-tap' ? newId() : this.#id
    const subscription = subscriptionOf(source, topology, id)
    const consuming = await RabbitConsuming.open(model, subscription, { ...this.#options, signal })
    this.#consuming = consuming
    if (signal.aborted) await consuming.close()
    return consuming
  }
}

function newId(): string {
  return randomUUID().replaceAll('-', '')
}

/** There will never be a connection. */
function isOver(error: unknown): boolean {
  return error instanceof TransportUnavailable || error instanceof InvalidConfiguration
}
