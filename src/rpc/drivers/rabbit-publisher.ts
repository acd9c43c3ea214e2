import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'
import { MessageUndeliverable, SevbusError, TransportUnavailable } from '../../errors.ts'
import { abortable } from '../abortable.ts'
import { type Destination, destinationName, type OutboundMessage } from '../transport.ts'
import { ConfirmedChannel } from './rabbit-confirmed-channel.ts'
import type { RabbitConnection } from './rabbit-connection.ts'
import { declareAside } from './rabbit-declare.ts'
import { type Route, routeOf, type Topology } from './rabbit-topology.ts'

/** So often is a message offered that the broker is known not to have, before the caller hears of it. */
const MAX_OFFERS = 5

/** Publishes with confirms, many at a time, over one connection. */
export class RabbitPublisher {
  readonly #connection: RabbitConnection
  readonly #topology: Topology
  readonly #logger: Logger
  #session: Session | undefined

  constructor(connection: RabbitConnection, topology: Topology, logger: Logger) {
    this.#connection = connection
    this.#topology = topology
    this.#logger = logger
  }

  async publish(to: Destination, message: OutboundMessage, signal: AbortSignal): Promise<void> {
    const route = routeOf(to, this.#topology)
    const keeps = route.declarations.some(({ kind }) => kind === 'queue')
    // Returned although it is not mandatory for the caller: its queue was deleted behind our back, and is made again.
    const offered = { ...message, mandatory: message.mandatory || keeps }
    for (let offers = 1; ; offers++) {
      const session = this.#sessionOn(await this.#connection.ready(signal))
      const outcome = await abortable(session.offer(to, route, offered), signal)
      if (outcome === 'confirmed') return
      if (outcome === 'returned') session.forget(route)
      const again = outcome === 'not sent' || (outcome === 'returned' ? keeps : outcome === 'lost' && isRepeatable(to))
      if (!again || offers >= MAX_OFFERS) throw asError(outcome, destinationName(to))
    }
  }

  #sessionOn(model: ChannelModel): Session {
    if (this.#session?.model !== model) this.#session = new Session(model, this.#logger)
    return this.#session
  }
}

/**
 * The exchange of a fanout goes with its last server, and a message to it then closes the channel. Sent again it is at
 * worst a duplicate with the same id, which the servers drop.
 */
function isRepeatable(to: Destination): boolean {
  return to.kind === 'fanout'
}

type Outcome = Awaited<ReturnType<Session['offer']>>

function asError(outcome: Exclude<Outcome, 'confirmed'>, destination: string): SevbusError {
  switch (outcome) {
    case 'returned':
      return new MessageUndeliverable(`no queue takes a message to ${destination}`, { destination })
    case 'refused':
      return new TransportUnavailable(`the broker refused a message to ${destination}: its queue is full or down`, {
        destination,
      })
    case 'lost':
      return new TransportUnavailable(
        `the connection broke before a message to ${destination} was confirmed; it may have arrived`,
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
  readonly #logger: Logger
  readonly #declared = new Map<string, Promise<void>>()
  /** Fanouts apart: what closes their channel must not take the confirms of others with it. */
  readonly #channels = new Map<'fanouts' | 'others', Promise<ConfirmedChannel>>()

  constructor(model: ChannelModel, logger: Logger) {
    this.model = model
    this.#logger = logger
  }

  async offer(to: Destination, route: Route, message: OutboundMessage) {
    let channel: ConfirmedChannel
    try {
      await this.#declare(route)
      channel = await this.#channel(to.kind === 'fanout' ? 'fanouts' : 'others')
    } catch (error) {
      if (error instanceof SevbusError) throw error
      return 'not sent'
    }
    return await channel.publish(route, message)
  }

  forget(route: Route): void {
    this.#declared.delete(keyOf(route))
  }

  async #declare(route: Route): Promise<void> {
    if (route.declarations.length === 0) return
    const key = keyOf(route)
    const declared = this.#declared.get(key) ?? declareAside(this.model, route.declarations)
    this.#declared.set(key, declared)
    try {
      await declared
    } catch (error) {
      this.#declared.delete(key)
      throw error
    }
  }

  async #channel(kind: 'fanouts' | 'others'): Promise<ConfirmedChannel> {
    const opening = this.#channels.get(kind) ?? ConfirmedChannel.open(this.model, (reason) => this.#drop(kind, reason))
    this.#channels.set(kind, opening)
    try {
      return await opening
    } catch (error) {
      this.#channels.delete(kind)
      throw error
    }
  }

  /** What was declared may be what is missing now. */
  #drop(kind: 'fanouts' | 'others', reason: string | undefined): void {
    this.#declared.clear()
    this.#channels.delete(kind)
    if (reason !== undefined) this.#logger.debug({ reason }, 'the broker closed a channel; the next message opens one')
  }
}

/** What is declared for a route is the same for every message of the exchange, except where there is a queue in it. */
function keyOf({ exchange, routingKey, declarations }: Route): string {
  return JSON.stringify(declarations.length > 1 || exchange === '' ? [exchange, routingKey] : [exchange])
}
