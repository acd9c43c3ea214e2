import { describe, expect, it } from 'vitest'
import { routeOf, subscriptionOf, type Topology } from '../../src/rpc/drivers/rabbit-topology.ts'

const server = { kind: 'server', exchange: 'X', topic: 'T', server: 'S' } as const
const id = '0123456789abcdef0123456789abcdef'

/** A line for each declaration, as in the table of oslo.messaging's queues. */
function lines(topology: Topology): string[] {
  const { declarations } = subscriptionOf(server, topology, id)
  return declarations.map((one) => {
    if (one.kind === 'binding') return `${one.exchange} -> ${one.queue} by ${one.routingKey}`
    const flags = [one.durable && 'durable', one.autoDelete && 'auto-delete'].filter((flag) => flag !== false)
    const rest = one.kind === 'exchange' ? one.type : JSON.stringify(one.arguments)
    return [one.kind, one.name, ...flags, rest].join(' ')
  })
}

describe('the topology', () => {
  it('of a server is that of oslo.messaging with rabbit_quorum_queue', () => {
    expect(lines('quorum')).toEqual([
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

  it('of a server is that of oslo.messaging with amqp_durable_queues, or without options', () => {
    expect(lines('classic-durable').slice(0, 2)).toEqual(['exchange X durable topic', 'queue T durable {}'])
    expect(lines('oslo-default').slice(0, 2)).toEqual(['exchange X topic', 'queue T {}'])
    expect(lines('oslo-default').slice(6, 8)).toEqual([
      'exchange T_fanout auto-delete fanout',
      `queue T_fanout_${id} {"x-expires":1800000}`,
    ])
  })

  it('sends requests by the exchange, fanouts by their own, replies by the nameless one', () => {
    const route = (to: Parameters<typeof routeOf>[0]) => {
      const { exchange, routingKey, declarations } = routeOf(to, 'quorum')
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

    for (const topology of ['quorum', 'classic-durable', 'oslo-default'] as const) {
      expect(declared(topology)).toMatchObject([{ kind: 'queue', durable: true }])
    }
  })

  it('binds a pool to every key, and a tap to a queue of its own', () => {
    const facts = { exchange: 'nova', topics: ['a', 'b'], priorities: ['info', 'error'] }
    const pool = subscriptionOf({ kind: 'notifications', ...facts, pool: 'billing' }, 'quorum', id)
    const tap = subscriptionOf({ kind: 'notification-tap', ...facts }, 'quorum', id)

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
