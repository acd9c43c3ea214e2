import { randomBytes } from 'node:crypto'
import { connect } from 'amqplib'
import { pino } from 'pino'
import { inject } from 'vitest'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { type Declaration, routeOf, subscriptionOf, topologyNamed } from '../../src/rpc/drivers/rabbit-topology.ts'
import { parseTransportUrl } from '../../src/rpc/drivers/transport-url.ts'
import type { BusNames } from '../../src/rpc/names.ts'
import type { Destination, Source, Transport } from '../../src/rpc/transport.ts'
import { onChannel } from './raw-channel.ts'

/** A broker for one test, with names of the test's own; whatever it made there is gone afterwards. */
export interface TestBus extends AsyncDisposable {
  readonly names: BusNames
  /** The user of the broker that the processes are. */
  readonly userId: string
  /** One more process on the bus. */
  connect(): Promise<Transport>
  /** One that does not say who it is, as Python's. */
  connectUnnamed(): Promise<Transport>
  /** Behind the back of whoever consumes it. */
  deleteQueue(name: string): Promise<void>
}

export interface TransportUnderTest {
  readonly name: string
  open(): Promise<TestBus>
}

export const silent = pino({ level: 'silent' })

export const transports: readonly TransportUnderTest[] = [
  { name: 'memory', open: openMemory },
  { name: 'rabbit', open: openRabbit },
]

/** No two tests share a queue, whatever broker they run on. */
export function freshNames(): BusNames {
  const prefix = `t${randomBytes(6).toString('hex')}`
  return { exchange: prefix, topicPrefix: `${prefix}-` }
}

async function openMemory(): Promise<TestBus> {
  const bus = new MemoryBus()
  const connections: Transport[] = []
  const connect = async (userId: string | undefined) => {
    const transport = bus.connect({ userId })
    connections.push(transport)
    return transport
  }
  return {
    names: freshNames(),
    userId: 'guest',
    connect: () => connect('guest'),
    connectUnnamed: () => connect(undefined),
    deleteQueue: async (name) => bus.delete(name),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((transport) => transport.close()))
    },
  }
}

async function openRabbit(): Promise<TestBus> {
  const made = new MadeOnBroker(inject('amqpUrl'))
  const connections: Transport[] = []
  const connect = async (sendUserId: boolean) => {
    const transport = made.record(new RabbitTransport({ url: inject('amqpUrl'), logger: silent, sendUserId }))
    connections.push(transport)
    await transport.connect(AbortSignal.timeout(20_000))
    return transport
  }
  return {
    names: freshNames(),
    userId: parseTransportUrl(inject('amqpUrl')).hosts[0].username,
    connect: () => connect(true),
    connectUnnamed: () => connect(false),
    deleteQueue: (name) => onChannel(inject('amqpUrl'), async (channel) => void (await channel.deleteQueue(name))),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((transport) => transport.close()))
      await made.remove()
    },
  }
}

/** Remembers which queues and exchanges a test causes, to delete them: users may lend us a broker of their own. */
export class MadeOnBroker {
  readonly #url: string
  readonly #queues = new Set<string>()
  readonly #exchanges = new Set<string>()

  constructor(url: string) {
    this.#url = url
  }

  /** Names of the queues so far. */
  get queues(): readonly string[] {
    return [...this.#queues]
  }

  /** The same transport, watched. */
  record(transport: Transport): Transport {
    return {
      get description() {
        return transport.description
      },
      get state() {
        return transport.state
      },
      get blocked() {
        return transport.blocked
      },
      get userId() {
        return transport.userId
      },
      get counts() {
        return transport.counts
      },
      connect: (signal) => transport.connect(signal),
      inspect: (queue, signal) => transport.inspect(queue, signal),
      check: (signal) => transport.check(signal),
      reconnect: (reason) => transport.reconnect(reason),
      publish: (to, message, signal) => {
        this.published(to)
        return transport.publish(to, message, signal)
      },
      declare: (to, signal) => {
        this.published(to)
        return transport.declare(to, signal)
      },
      listen: (source, handler, options) => {
        this.listened(source)
        return transport.listen(source, handler, options)
      },
      close: () => transport.close(),
    }
  }

  published(to: Destination): void {
    this.#note(routeOf(to, topologyNamed('quorum')).declarations)
  }

  listened(source: Source): void {
    this.#note(subscriptionOf(source, topologyNamed('quorum'), '').declarations)
  }

  async remove(): Promise<void> {
    const connection = await connect(this.#url)
    const channel = await connection.createChannel()
    for (const queue of this.#queues) await channel.deleteQueue(queue)
    for (const exchange of this.#exchanges) await channel.deleteExchange(exchange)
    await connection.close()
  }

  #note(declarations: readonly Declaration[]): void {
    for (const declaration of declarations) {
      if (declaration.kind === 'queue') this.#queues.add(declaration.name)
      if (declaration.kind === 'exchange') this.#exchanges.add(declaration.name)
    }
  }
}
