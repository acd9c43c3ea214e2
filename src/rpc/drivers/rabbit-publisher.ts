import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'
import { MessageUndeliverable, SevbusError, TransportUnavailable } from '../../errors.ts'
import { abortable } from '../abortable.ts'
import {
  type Destination,
  destinationName,
  type OutboundMessage,
  type Patience,
  type PublishOutcome,
} from '../transport.ts'
import { type PublishRefusal, publishRefused } from './publish-refusal.ts'
import { ConfirmedChannel } from './rabbit-confirmed-channel.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import { declareAside } from './rabbit-declare.ts'
import { type Route, routeOf, type Topology } from './rabbit-topology.ts'

/** So often is a message offered that the broker is known not to have, before the caller hears of it. */
const MAX_OFFERS = 5
/** So old is a channel, in milliseconds, that is replaced after a refusal: a queue that stays full costs one no sooner. */
const REFUSING_MS = 5_000

/** Publishes with confirms, many at a time, over one connection. */
export class RabbitPublisher {
  readonly #connection: RabbitConnection
  readonly #topology: Topology
  readonly #logger: Logger
  #session: Session | undefined
  /** Each offer by itself: one message may be offered more than once. */
  readonly counts: Record<PublishOutcome, number> = { confirmed: 0, returned: 0, refused: 0, lost: 0, 'not sent': 0 }

  constructor(connection: RabbitConnection, topology: Topology, logger: Logger) {
    this.#connection = connection
    this.#topology = topology
    this.#logger = logger
  }

  async publish(to: Destination, message: OutboundMessage, patience?: Patience): Promise<void> {
    const route = routeOf(to, this.#topology)
    const keeps = route.declarations.some(({ kind }) => kind === 'queue')
    // Returned although it is not mandatory for the caller: its queue was deleted behind our back, and is made again.
    const offered = keeps ? { ...message, mandatory: true } : message
    for (let offers = 1; ; offers++) {
      // Until it is written it can be given up, and will never be sent.
      while (this.#connection.blockage.reason !== undefined) await this.#connection.blockage.over(patience?.signal)
      const channel = this.#readyFor(to, route) ?? (await this.#prepare(to, route, patience))
      const outcome = channel === undefined ? 'not sent' : await channel.publish(route, offered)
      this.counts[outcome]++
      if (outcome === 'confirmed') return
      this.#session?.failed(outcome, to, route, channel)
      const refusal = channel?.refusal
      if (!mayRepeat(outcome, to, keeps, refusal) || offers >= MAX_OFFERS) throw asError(outcome, to, refusal)
    }
  }

  #readyFor(to: Destination, route: Route): ConfirmedChannel | undefined {
    const isCurrent = this.#session !== undefined && this.#session.model === this.#connection.current
    return isCurrent ? this.#session?.readyFor(to, route) : undefined
  }

  async #prepare(to: Destination, route: Route, patience?: Patience): Promise<ConfirmedChannel | undefined> {
    const session = this.#sessionOn(this.#connection.current ?? (await this.#connection.ready(patience?.signal)))
    return await abortable(session.prepare(to, route), patience?.signal)
  }

  #sessionOn(model: ChannelModel): Session {
    if (this.#session?.model !== model) this.#session = new Session(model, this.#connection.userId, this.#logger)
    return this.#session
  }
}

/**
 * The exchange of a fanout goes with its last server, and a message to it then closes the channel. Sent again it is at
 * worst a duplicate with the same id, which the servers drop.
 */
function mayRepeat(outcome: PublishOutcome, to: Destination, keeps: boolean, refusal?: PublishRefusal): boolean {
  if (outcome === 'returned') return keeps
  if (outcome === 'refused') return refusal?.kind === 'missing' && to.kind === 'fanout'
  return outcome === 'not sent' || (outcome === 'lost' && to.kind === 'fanout')
}

function asError(
  outcome: Exclude<PublishOutcome, 'confirmed'>,
  to: Destination,
  refusal: PublishRefusal | undefined,
): SevbusError {
  const destination = destinationName(to)
  switch (outcome) {
    case 'returned':
      return new MessageUndeliverable(`no queue takes a message to ${destination}`, { destination })
    case 'refused':
      if (refusal !== undefined) return publishRefused(refusal, destination)
      return new TransportUnavailable(`the broker refused a message to ${destination}: its queue is full or down`, {
        destination,
      })
    case 'lost':
      return new TransportUnavailable(
        `the connection or its channel broke before a message to ${destination} was confirmed; it may have arrived`,
        { destination },
      )
    case 'not sent':
      return new TransportUnavailable(`a message to ${destination} could not be sent`, { destination })
    default:
      return outcome satisfies never
  }
}

/** What is open and declared on one connection; begins afresh with the next one. */
class Session {
  readonly model: ChannelModel
  readonly #userId: string | undefined
  readonly #logger: Logger
  readonly #declared = new Set<string>()
  readonly #declaring = new Map<string, Promise<void>>()
  /** Fanouts apart: what closes their channel must not take the confirms of others with it. */
  readonly #channels: { -readonly [K in ChannelUse]?: ConfirmedChannel } = {}
  readonly #opening = new Map<ChannelUse, Promise<ConfirmedChannel>>()

  constructor(model: ChannelModel, userId: string | undefined, logger: Logger) {
    this.model = model
    this.#userId = userId
    this.#logger = logger
  }

  /** The channel for a message, when nothing has to be opened or declared first. */
  readyFor(to: Destination, route: Route): ConfirmedChannel | undefined {
    if (route.declarations.length > 0 && !this.#declared.has(keyOf(route))) return undefined
    return this.#channels[useOf(to)]
  }

  /** Declares and opens what is missing. Undefined: the connection or a channel was lost meanwhile. */
  async prepare(to: Destination, route: Route): Promise<ConfirmedChannel | undefined> {
    try {
      await this.#declare(route)
      return await this.#open(useOf(to))
    } catch (error) {
      if (error instanceof SevbusError) throw error
      return undefined
    }
  }

  /** What failed is declared again, or goes over another channel, the next time. */
  failed(outcome: PublishOutcome, to: Destination, route: Route, channel: ConfirmedChannel | undefined): void {
    if (outcome === 'returned') this.#declared.delete(keyOf(route))
    if (outcome === 'refused' && channel !== undefined) this.#replace(useOf(to), channel)
  }

  /**
   * To a quorum queue that has refused one message, RabbitMQ refuses all others of the same channel until the queue tells of
   * room. It does not where its limit was taken away: `queue_status` in rabbit_fifo_client.erl, seen with 3.10.
   */
  #replace(use: ChannelUse, refusing: ConfirmedChannel): void {
    if (this.#channels[use] !== refusing || refusing.ageMs < REFUSING_MS) return
    delete this.#channels[use]
    refusing.retire()
  }

  async #declare(route: Route): Promise<void> {
    const key = keyOf(route)
    if (route.declarations.length === 0 || this.#declared.has(key)) return
    await once(this.#declaring, key, async () => {
      await declareAside(this.model, route.declarations)
      this.#declared.add(key)
    })
  }

  async #open(use: ChannelUse): Promise<ConfirmedChannel> {
    return (
      this.#channels[use] ??
      (await once(this.#opening, use, async () => {
        const channel = await ConfirmedChannel.open(this.model, this.#userId, (closed, reason) =>
          this.#drop(use, closed, reason),
        )
        this.#channels[use] = channel
        return channel
      }))
    )
  }

  /** What was declared may be what is missing now. */
  #drop(use: ChannelUse, closed: ConfirmedChannel, reason: string | undefined): void {
    this.#declared.clear()
    if (this.#channels[use] === closed) delete this.#channels[use]
    if (reason !== undefined) this.#logger.debug({ reason }, 'the broker closed a channel; the next message opens one')
  }
}

type ChannelUse = 'fanouts' | 'others'

function useOf(to: Destination): ChannelUse {
  return to.kind === 'fanout' ? 'fanouts' : 'others'
}

/** What is declared for a route is the same for every message of the exchange, except where there is a queue in it. */
function keyOf({ exchange, routingKey, declarations }: Route): string {
  return declarations.length > 1 || exchange === '' ? `${exchange}\n${routingKey}` : exchange
}

/** The same work for all who ask while it runs. */
function once<K, T>(running: Map<K, Promise<T>>, key: K, work: () => Promise<T>): Promise<T> {
  const same = running.get(key)
  if (same !== undefined) return same
  const started = work().finally(() => running.delete(key))
  running.set(key, started)
  return started
}
