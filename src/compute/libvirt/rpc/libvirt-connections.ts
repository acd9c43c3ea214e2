import type { SevbusError } from '../../../errors.ts'
import type { CallLimits, Connection } from './connection.ts'
import { dial, type PkiFiles, SYSTEM_PKI } from './dial.ts'
import { EVENT_ID, type GuestEvent, GuestEventStream, guestEvent } from './guest-events.ts'
import type { KeepaliveOptions } from './keepalive.ts'
import { Line, type LineOptions } from './line.ts'
import { Outage } from './outage.ts'
import type { Args, ProcedureName, Result } from './procedures.ts'
import { openSession, type SessionOptions } from './session.ts'
import { parseLibvirtUri, type SocketFolders } from './uri.ts'

export interface LibvirtOptions {
  readonly uri: string
  /** Connections were lost, or cannot be opened; they are tried again all the same. Told once for all of them. */
  readonly onTrouble: (trouble: SevbusError) => void
  /** All of them stand again. */
  readonly onTroubleEnd?: () => void
  readonly pki?: PkiFiles
  readonly sockets?: SocketFolders
  readonly keepalive?: KeepaliveOptions
  readonly connectTimeoutMs?: number
  readonly queryTimeoutMs?: number
  /** Of calls that change something; a guest with much memory takes its time to start. */
  readonly controlTimeoutMs?: number
  /** How long calls wait for a connection that was lost. */
  readonly patienceMs?: number
  /** Each takes four calls at a time. */
  readonly controlConnections?: number
}

/** Overrides what is usual for calls of this kind. */
export type Limits = Partial<CallLimits>

const USUAL = {
  pki: SYSTEM_PKI,
  keepalive: { intervalMs: 5_000, count: 3 },
  connectTimeoutMs: 10_000,
  queryTimeoutMs: 30_000,
  controlTimeoutMs: 300_000,
  patienceMs: 5_000,
  controlConnections: 2,
}

/** Root has no session of its own: the daemon of the system serves it. */
function usualSockets(): SocketFolders {
  const uid = process.getuid?.() ?? 0
  const system = '/run/libvirt'
  return { system, session: uid === 0 ? system : `/run/user/${uid}/libvirt` }
}

/**
 * The connections to one daemon: one for questions and events, one to stop guests, others for what changes something else,
 * so that neither a question nor a stop waits behind guests that start. They connect in the background, and again after
 * each loss.
 */
export class LibvirtConnections {
  readonly #queries: Line
  readonly #stops: Line
  readonly #control: readonly Line[]
  readonly #queryTimeoutMs: number
  readonly #controlTimeoutMs: number
  readonly #streams = new Set<GuestEventStream>()
  #eventsCome = false
  #isClosed = false

  /** @throws InvalidConfiguration when the URI is none */
  constructor(given: LibvirtOptions) {
    const options = { sockets: usualSockets(), ...USUAL, ...given }
    const { name, endpoints } = parseLibvirtUri(options.uri, options.sockets)
    const { onTrouble, onTroubleEnd: onEnd = () => {}, patienceMs } = options
    const outage = new Outage({ onTrouble, onEnd, patienceMs, now: () => performance.now() })
    const line = ({ onMessage, prepare, onConnected }: Purpose) => {
      const itself = {}
      const way = (signal: AbortSignal) => dial(endpoints, options.pki, signal)
      const session = { ...options, name, dial: way, onMessage, prepare }
      return new Line({
        ...options,
        open: (signal) => openSession(session, signal),
        onTrouble: (trouble) => outage.lost(itself, trouble),
        onConnected: (connection) => {
          outage.back(itself)
          onConnected(connection)
        },
      })
    }
    this.#queryTimeoutMs = options.queryTimeoutMs
    this.#controlTimeoutMs = options.controlTimeoutMs
    this.#queries = line({
      onMessage: (message) => this.#publish(guestEvent(message)),
      prepare: askForEvents,
      onConnected: (connection) => this.#onEventsCome(connection),
    })
    const control = { onMessage: () => {}, prepare: async () => {}, onConnected: () => {} }
    this.#stops = line(control)
    this.#control = Array.from({ length: options.controlConnections }, () => line(control))
  }

  /** For what changes nothing. */
  ask<N extends ProcedureName>(name: N, args: Args<N>, limits?: Limits): Promise<Result<N>> {
    return this.#queries.call(name, args, { timeoutMs: this.#queryTimeoutMs, ...limits })
  }

  /** For what changes something: over the connection that has least to do. */
  tell<N extends ProcedureName>(name: N, args: Args<N>, limits?: Limits): Promise<Result<N>> {
    const line = this.#control.reduce((least, each) => (each.load < least.load ? each : least))
    return line.call(name, args, { timeoutMs: this.#controlTimeoutMs, ...limits })
  }

  /** For what has to be done however many guests start: over its own connection, or another with a free place. */
  stop<N extends ProcedureName>(name: N, args: Args<N>, limits?: Limits): Promise<Result<N>> {
    const line = [this.#stops, ...this.#control].find(({ isFull }) => !isFull) ?? this.#stops
    return line.call(name, args, { timeoutMs: this.#controlTimeoutMs, ...limits })
  }

  events(): GuestEventStream {
    const stream = new GuestEventStream(() => this.#streams.delete(stream))
    this.#streams.add(stream)
    if (this.#eventsCome) stream.push({ kind: 'resync', why: 'the listener is new' })
    if (this.#isClosed) stream.end()
    return stream
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const stream of [...this.#streams]) stream.end()
    await Promise.all([this.#queries, this.#stops, ...this.#control].map((line) => line.close()))
  }

  #onEventsCome(connection: Connection): void {
    this.#eventsCome = true
    connection.onClose(() => {
      this.#eventsCome = false
    })
    this.#publish({ kind: 'resync', why: 'the connection is new' })
  }

  #publish(event: GuestEvent | undefined): void {
    if (event !== undefined) for (const stream of this.#streams) stream.push(event)
  }
}

/** What a connection is for. */
type Purpose = Pick<SessionOptions, 'onMessage' | 'prepare'> & Pick<LineOptions, 'onConnected'>

/** Done before anybody looks at the guests: what changes after the look is told. */
async function askForEvents(connection: Connection, limits: CallLimits): Promise<void> {
  for (const eventId of [EVENT_ID.lifecycle, EVENT_ID.reboot]) {
    await connection.call('connectDomainEventCallbackRegisterAny', { eventId, dom: undefined }, limits)
  }
}
