import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'
import { InvalidConfiguration, TransportUnavailable } from '../../errors.ts'
import { abortable, endedWithin, pause } from '../abortable.ts'
import { Backoff } from '../backoff.ts'
import { blockedText } from '../transport.ts'
import { type BrokerSettings, describeBroker, userIdOn } from './broker-settings.ts'
import { Blockage } from './rabbit-blockage.ts'
import { closeConnection, destroySocket } from './rabbit-close.ts'
import { connectTo } from './rabbit-connect.ts'
import type { Gathering } from './rabbit-writes.ts'
import type { BrokerHost } from './transport-url.ts'

const CLOSE_TIMEOUT_MS = 2_000
const SAY_AGAIN_MS = 30_000

export interface RabbitConnectionOptions {
  readonly settings: BrokerSettings
  /** What the broker shows as the connection's name. */
  readonly name: string
  readonly gathering: Gathering
  /** It says of each message who sends it, unless the settings forbid it. */
  readonly publishes: boolean
  readonly logger: Logger
  /** Told why there is no connection, once for each reason and then every half minute. */
  readonly onWaiting: (reason: string) => void
}

/** Keeps one connection to one of the hosts, for ever, until it is closed. */
export class RabbitConnection {
  readonly #options: RabbitConnectionOptions
  readonly #stop = new AbortController()
  readonly #backoff = new Backoff()
  /** Whether the broker takes messages on it. */
  readonly blockage = new Blockage((reason) => this.#sayBlocked(reason))
  #model: ChannelModel | undefined
  #userId: string | undefined
  #next = new Next()
  /** Ends the watch over a connection whose own events may never come. */
  #giveUp: (reason: string) => void = () => {}
  #running: Promise<void> | undefined
  #connections = 0
  #said = { reason: '', at: 0 }
  /** The broker's address, of this connection or of the last try. */
  #where = ''

  constructor(options: RabbitConnectionOptions) {
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#model !== undefined
  }

  /** The connection, where there is one. */
  get current(): ChannelModel | undefined {
    return this.#model
  }

  /** Why there is no connection now, if that is known. */
  get waitingFor(): string {
    return this.#said.reason || 'not connected yet'
  }

  /** `RabbitMQ 3.10.8`, once it was seen. */
  get product(): string | undefined {
    const properties = this.#model?.connection.serverProperties
    return properties && `${properties.product} ${properties.version}`
  }

  /** Connections made after the first. */
  get reconnects(): number {
    return Math.max(0, this.#connections - 1)
  }

  /** Who we are to the broker of this connection, for AMQP's `user-id`; undefined when it is not to be sent. */
  get userId(): string | undefined {
    return this.#userId
  }

  /**
   * The connection, as soon as there is one.
   * @throws the signal's reason, TransportUnavailable once closed, or InvalidConfiguration when the files for TLS were
   *   wrong from the beginning
   */
  ready(signal?: AbortSignal): Promise<ChannelModel> {
    this.#running ??= this.#run()
    return this.#model ? Promise.resolve(this.#model) : abortable(this.#next.promise, signal)
  }

  /**
   * As `ready`, or resolves when the broker takes no messages now: then nobody can say when there is a connection.
   * @throws as `ready`
   */
  async readyOrBlocked(signal?: AbortSignal): Promise<void> {
    await Promise.race([this.ready(signal), this.blockage.begun(signal)])
  }

  /**
   * Ends the connection that is; the next one is made as after any loss.
   * @param meant does nothing where that is not the connection any more: another has been as unhappy with it
   */
  async reconnect(reason: string, meant = this.#model): Promise<void> {
    const model = this.#model
    if (model === undefined || model !== meant) return
    this.#model = undefined
    this.#giveUp(reason)
    await closeConnection(model)
  }

  async close(): Promise<void> {
    this.#end(new TransportUnavailable('the transport is closed'))
    const model = this.#model
    if (model) {
      await closeConnection(model)
      this.#giveUp('closed by us')
    }
    if (this.#running !== undefined) await endedWithin(CLOSE_TIMEOUT_MS, this.#running)
  }

  #end(reason: Error): void {
    this.#stop.abort()
    this.#next.reject(reason)
  }

  async #run(): Promise<void> {
    const { hosts } = this.#options.settings
    // Many workers with one list do not all begin with its first host.
    const first = Math.floor(Math.random() * hosts.length)
    for (let tries = 0; !this.#stop.signal.aborted; tries++) {
      const host = hosts[(first + tries) % hosts.length] as BrokerHost
      const workedMs = await this.#keep(host)
      if ((tries + 1) % hosts.length === 0) await pause(this.#backoff.nextMs(workedMs), this.#stop.signal)
    }
  }

  /** Connects, and returns when the connection is lost or could not be made. @returns how long there was one */
  async #keep(host: BrokerHost): Promise<number> {
    const { settings, name, gathering, publishes } = this.#options
    let connectedAt = Number.POSITIVE_INFINITY
    const where = describeBroker(settings, host)
    try {
      const userId = publishes ? userIdOn(settings, host) : undefined
      this.#where = where
      const model = await connectTo(host, settings, { name, userId, gathering }, this.blockage, this.#stop.signal)
      const lost = this.#watch(model)
      if (this.#stop.signal.aborted) {
        await closeConnection(model)
        return 0
      }
      connectedAt = performance.now()
      this.#model = model
      this.#userId = userId
      this.#connections++
      const level = this.#said.reason === '' ? 'debug' : 'info'
      this.#said = { reason: '', at: 0 }
      this.#next.resolve(model)
      this.#next = new Next()
      this.#options.logger[level]({ broker: where, connection: name }, 'connected to the broker')
      const reason = await lost
      this.#model = undefined
      if (!this.#stop.signal.aborted) this.#say(`the connection to ${where} was lost: ${reason}`)
    } catch (error) {
      const { message } = error as Error
      this.#say(`no connection to ${where}: ${message}`)
      // Files that are wrong later are being replaced.
      if (error instanceof InvalidConfiguration && this.#connections === 0) this.#end(error)
    }
    return Math.max(0, performance.now() - connectedAt)
  }

  #sayBlocked(reason: string | undefined): void {
    const facts = { broker: this.#where, reason }
    if (reason === undefined) this.#options.logger.info(facts, 'the broker takes messages again')
    else this.#options.logger.warn(facts, 'the broker takes no messages now, for it is short of memory or disk')
    if (reason !== undefined && this.#model === undefined) this.#say(`${this.#where}: ${blockedText(reason)}`)
  }

  /** Resolves with the reason when the connection is gone. */
  #watch(model: ChannelModel): Promise<string> {
    return new Promise((resolve) => {
      this.#giveUp = resolve
      let reason = 'closed'
      model.on('error', (error) => {
        reason = error.message
      })
      model.on('close', () => {
        destroySocket(model)
        resolve(reason)
      })
    })
  }

  #say(reason: string): void {
    const now = performance.now()
    if (reason === this.#said.reason && now - this.#said.at < SAY_AGAIN_MS) return
    this.#said = { reason, at: now }
    this.#options.onWaiting(reason)
  }
}

/** A promise with its handles; nobody need wait for it. */
class Next {
  resolve: (model: ChannelModel) => void = () => {}
  reject: (error: Error) => void = () => {}
  readonly promise = new Promise<ChannelModel>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })

  constructor() {
    this.promise.catch(() => {})
  }
}
