import { describe, expect, it } from 'vitest'
import {
  type Declaration,
  routeOf,
  subscriptionOf,
  type Topology,
  topologyNamed,
} from '../../src/rpc/drivers/rabbit-topology.ts'
import type { Destination, Source } from '../../src/rpc/transport.ts'

const server = { kind: 'server', exchange: 'X', topic: 'T', server: 'S' } as const
const id = '0123456789abcdef0123456789abcdef'

const quorum = topologyNamed('quorum')
const classic = topologyNamed('classic-durable')
const osloDefault = topologyNamed('oslo-default')

/** A line for each declaration, as in the table of oslo.messaging's queues. */
function lines(declarations: readonly Declaration[]): string[] {
  return declarations.map((one) => {
    if (one.kind === 'binding') return `${one.exchange} -> ${one.queue} by ${one.routingKey}`
    const exclusive = one.kind === 'queue' && one.exclusive
    const flags = [one.durable && 'durable', exclusive && 'exclusive', one.autoDelete && 'auto-delete']
    const rest = one.kind === 'exchange' ? one.type : JSON.stringify(one.arguments)
    return [one.kind, one.name, ...flags.filter((flag) => flag !== false), rest].join(' ')
  })
}

const declaredBy = (source: Source, topology: Topology) => lines(subscriptionOf(source, topology, id).declarations)
const declaredFor = (to: Destination, topology: Topology) => lines(routeOf(to, topology).declarations)

/** One of each kind that there is. */
const notifications = { kind: 'notifications', exchange: 'nova', topics: ['N'], priorities: ['info'] } as const
const SOURCES = {
  server,
  directed: { ...server, kind: 'directed' },
  reply: { kind: 'reply', queue: 'reply_1' },
  queue: { kind: 'queue', queue: 'dead' },
  notifications,
  'notification-tap': { ...notifications, kind: 'notification-tap' },
} as const satisfies { readonly [K in Source['kind']]: Source & { readonly kind: K } }
const DESTINATIONS = {
  topic: { kind: 'topic', exchange: 'X', topic: 'T' },
  server,
  fanout: { kind: 'fanout', topic: 'T' },
  queue: { kind: 'queue', queue: 'dead', durable: true },
  notification: { kind: 'notification', exchange: 'nova', topic: 'N', priority: 'info' },
} as const satisfies { readonly [K in Destination['kind']]: Destination & { readonly kind: K } }

describe('the topology', () => {
  it('of a server is that of oslo.messaging with rabbit_quorum_queue, but for its own queue', () => {
    expect(declaredBy(server, quorum)).toEqual([
      'exchange X durable topic',
      'queue T durable {"x-queue-type":"quorum"}',
      'X -> T by T',
      'exchange X durable topic',
      'queue T.S durable {"x-queue-type":"quorum"}',
      'X -> T.S by T.S',
      'exchange T_fanout auto-delete fanout',
      `queue T_fanout_${id} durable {"x-expires":1800000}`,
      `T_fanout -> T_fanout_${id} by T`,
    ])
  })

  it('of a server is that of oslo.messaging with amqp_durable_queues, but for its own queue', () => {
    expect(declaredBy(server, classic)).toEqual([
      'exchange X durable topic',
      'queue T durable {}',
      'X -> T by T',
      'exchange X durable topic',
      'queue T.S durable {}',
      'X -> T.S by T.S',
      'exchange T_fanout auto-delete fanout',
      `queue T_fanout_${id} durable {"x-expires":1800000}`,
      `T_fanout -> T_fanout_${id} by T`,
    ])
  })

  it('of a server is that of oslo.messaging without options, but for its own queue', () => {
    expect(declaredBy(server, osloDefault)).toEqual([
      'exchange X topic',
      'queue T {}',
      'X -> T by T',
      'exchange X topic',
      'queue T.S {}',
      'X -> T.S by T.S',
      'exchange T_fanout auto-delete fanout',
      `queue T_fanout_${id} durable {"x-expires":1800000}`,
      `T_fanout -> T_fanout_${id} by T`,
    ])
  })

  it.each([
    [quorum, ['exchange nova durable topic', 'queue N.info durable {"x-queue-type":"quorum"}']],
    [classic, ['exchange nova durable topic', 'queue N.info durable {}']],
    [osloDefault, ['exchange nova topic', 'queue N.info {}']],
  ])('of notifications is that of oslo.messaging, for publishers and listeners: %j', (topology, expected) => {
    const bound = [...expected, 'nova -> N.info by N.info']

    expect(declaredFor(DESTINATIONS.notification, topology)).toEqual(bound)
    expect(declaredBy(notifications, topology)).toEqual(bound)
  })

  it('of one name alone is that of a server, without its topic and its fanout', () => {
    for (const topology of [quorum, classic, osloDefault]) {
      const { declarations, queues, own } = subscriptionOf(SOURCES.directed, topology, id)

      expect({ queues, own }).toEqual({ queues: [{ name: 'T.S', fanout: false }], own: undefined })
      expect(subscriptionOf(server, topology, id).declarations).toEqual(expect.arrayContaining([...declarations]))
    }
  })

  it("has oslo.messaging's other options, where both sides must agree", () => {
    const quorumArguments = { 'x-delivery-limit': 25, 'x-max-in-memory-length': 1000, 'x-max-in-memory-bytes': 5000 }
    const all = { ...quorum, quorumArguments, transientQuorumQueues: true, unusedQueueTtlSeconds: 60 }

    expect(declaredBy(server, all).filter((line) => !line.includes('->'))).toEqual([
      'exchange X durable topic',
      `queue T durable ${JSON.stringify({ 'x-queue-type': 'quorum', ...quorumArguments })}`,
      'exchange X durable topic',
      `queue T.S durable ${JSON.stringify({ 'x-queue-type': 'quorum', ...quorumArguments })}`,
      'exchange T_fanout durable auto-delete fanout',
      `queue T_fanout_${id} durable {"x-queue-type":"quorum","x-expires":60000}`,
    ])
    expect(declaredFor(DESTINATIONS.fanout, all)).toEqual(['exchange T_fanout durable auto-delete fanout'])
    expect(declaredBy(SOURCES.reply, all)).toEqual([
      'queue reply_1 durable {"x-queue-type":"quorum","x-expires":60000}',
    ])
  })

  it('declares for a reply queue nothing but the queue, which outlives the broker and goes when it is unused', () => {
    for (const topology of [quorum, classic, osloDefault]) {
      expect(declaredBy(SOURCES.reply, topology)).toEqual(['queue reply_1 durable {"x-expires":1800000}'])
    }
  })

  it.each([
    ['quorum', Object.keys(SOURCES), Object.keys(DESTINATIONS)],
    ['classic-durable', Object.keys(SOURCES), Object.keys(DESTINATIONS)],
    // Topic, server and notification queues of Python peers left at their defaults are transient.
    ['oslo-default', ['reply', 'queue', 'notification-tap'], ['fanout', 'queue']],
  ] as const)('of the name %s has no queue that RabbitMQ 4.3 refuses: neither durable nor exclusive', (...all) => {
    const [name, sources, destinations] = all
    const topology = topologyNamed(name)
    const declarations = [
      ...sources.flatMap((kind) => subscriptionOf(SOURCES[kind as Source['kind']], topology, id).declarations),
      ...destinations.flatMap((kind) => routeOf(DESTINATIONS[kind as Destination['kind']], topology).declarations),
    ]
    const queues = declarations.filter((one) => one.kind === 'queue')

    expect(queues.length).toBeGreaterThan(0)
    expect(queues.filter(({ durable, exclusive }) => !durable && !exclusive)).toEqual([])
  })

  it('lets dead letters be looked at and given back as often as people like', () => {
    const limit = '{"x-queue-type":"quorum","x-delivery-limit":2147483647}'

    for (const topology of [quorum, { ...quorum, quorumArguments: { 'x-delivery-limit': 5 } }]) {
      expect(declaredFor(DESTINATIONS.queue, topology)).toEqual([`queue dead durable ${limit}`])
      expect(declaredBy(SOURCES.queue, topology)).toEqual([`queue dead durable ${limit}`])
    }
    expect(declaredFor(DESTINATIONS.queue, classic)).toEqual(['queue dead durable {}'])
  })

  it('sends requests by the exchange, fanouts by their own, replies by the nameless one', () => {
    const route = (to: Parameters<typeof routeOf>[0]) => {
      const { exchange, routingKey, declarations } = routeOf(to, quorum)
      return [exchange, routingKey, declarations.map(({ kind }) => kind).join()]
    }

    expect(route({ kind: 'topic', exchange: 'X', topic: 'T' })).toEqual(['X', 'T', 'exchange'])
    expect(route(server)).toEqual(['X', 'T.S', 'exchange'])
    expect(route({ kind: 'fanout', topic: 'T' })).toEqual(['T_fanout', '', 'exchange'])
    expect(route({ kind: 'queue', queue: 'reply_1' })).toEqual(['', 'reply_1', ''])
    expect(route({ kind: 'queue', queue: 'dead', durable: true })).toEqual(['', 'dead', 'queue'])
    expect(route({ kind: 'notification', exchange: 'nova', topic: 'N', priority: 'info' })).toEqual([
      'nova',
      'N.info',
      'exchange,queue,binding',
    ])
  })

  it('keeps dead letters over a restart of the broker in every topology', () => {
    const declared = (topology: Topology) =>
      routeOf({ kind: 'queue', queue: 'dead', durable: true }, topology).declarations

    for (const topology of [quorum, classic, osloDefault]) {
      expect(declared(topology)).toMatchObject([{ kind: 'queue', durable: true }])
    }
  })

  it('binds a pool to every key, and a tap to a queue of its own', () => {
    const facts = { exchange: 'nova', topics: ['a', 'b'], priorities: ['info', 'error'] }
    const pool = subscriptionOf({ kind: 'notifications', ...facts, pool: 'billing' }, quorum, id)
    const tap = subscriptionOf({ kind: 'notification-tap', ...facts }, quorum, id)

    const keys = (of: typeof pool) => of.declarations.flatMap((one) => (one.kind === 'binding' ? [one.routingKey] : []))
    expect([pool.own, pool.queues, keys(pool)]).toEqual([
      undefined,
      [{ name: 'billing', fanout: false }],
      ['a.info', 'a.error', 'b.info', 'b.error'],
    ])
    expect([tap.own, tap.queues, keys(tap)]).toEqual([`tap_${id}`, [{ name: `tap_${id}`, fanout: false }], keys(pool)])
    expect(tap.declarations).toContainEqual(
      expect.objectContaining({ kind: 'queue', exclusive: true, autoDelete: true }),
    )
  })
})
