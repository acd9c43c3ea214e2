import type { Channel } from 'amqplib'
import { connect } from 'amqplib'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { TopologyMismatch } from '../../src/errors.ts'
import { RabbitTransport, type RabbitTransportOptions } from '../../src/rpc/drivers/rabbit.ts'
import { declareOn } from '../../src/rpc/drivers/rabbit-declare.ts'
import { mismatchOf } from '../../src/rpc/drivers/topology-mismatch.ts'
import type { Destination, Source } from '../../src/rpc/transport.ts'
import { onChannel } from '../support/raw-channel.ts'
import { freshNames, MadeOnBroker, silent } from '../support/transports.ts'

/** What somebody else has declared, who declared it otherwise, and what is wrong then. */
describe('a queue or exchange that the broker has otherwise', () => {
  const url = inject('amqpUrl')

  function openBus(options: Partial<RabbitTransportOptions> = {}) {
    const { exchange, topicPrefix } = freshNames()
    const topic = `${topicPrefix}scheduler`
    const server = { kind: 'server', exchange, topic, server: 'node1' } as const satisfies Source
    const made = new MadeOnBroker(url)
    made.listened(server)
    onTestFinished(() => made.remove())
    const transport = new RabbitTransport({ url, logger: silent, ...options })
    onTestFinished(() => transport.close())
    return { exchange, topic, server, transport, made }
  }

  async function refusal(work: Promise<unknown>): Promise<TopologyMismatch> {
    const thrown = await work.catch((error: unknown) => error)
    expect(thrown).toBeInstanceOf(TopologyMismatch)
    return thrown as TopologyMismatch
  }

  interface Case {
    readonly declare: (channel: Channel, topic: string) => Promise<unknown>
    readonly options?: Partial<RabbitTransportOptions>
    readonly argument: string
    readonly have: string
    readonly want: string
    readonly option?: string
    readonly urlOption?: string
    readonly fix: string
  }

  const quorum = { 'x-queue-type': 'quorum' }

  it.each<[string, Case]>([
    [
      'a classic queue, for quorum',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true }),
        argument: 'x-queue-type',
        have: 'none',
        want: 'quorum',
        option: 'transport.topology',
        urlOption: 'amqp_durable_queues=1',
        fix: 'set transport.topology = "classic-durable"',
      },
    ],
    [
      'a quorum queue, for classic-durable',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true, arguments: quorum }),
        options: { topology: 'classic-durable' },
        argument: 'x-queue-type',
        have: 'quorum',
        want: 'none',
        option: 'transport.topology',
        urlOption: 'rabbit_quorum_queue=1',
        fix: 'set transport.topology = "quorum"',
      },
    ],
    [
      'a transient queue, for classic-durable',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: false }),
        options: { topology: 'classic-durable' },
        argument: 'durable',
        have: 'false',
        want: 'true',
        option: 'transport.topology',
        urlOption: 'rabbit_quorum_queue=0',
        fix: 'set transport.topology = "oslo-default"',
      },
    ],
    [
      'a transient queue, for quorum',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: false }),
        argument: 'durable',
        have: 'false',
        want: 'true',
        option: 'transport.topology',
        urlOption: 'rabbit_quorum_queue=0',
        fix: 'set transport.topology = "oslo-default"',
      },
    ],
    [
      'a durable queue, for oslo-default',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true }),
        options: { topology: 'oslo-default' },
        argument: 'durable',
        have: 'true',
        want: 'false',
        option: 'transport.topology',
        urlOption: 'rabbit_quorum_queue=1 or amqp_durable_queues=1',
        fix: 'set transport.topology = "quorum" or "classic-durable"',
      },
    ],
    [
      'another delivery limit',
      {
        declare: (channel, topic) =>
          channel.assertQueue(topic, { durable: true, arguments: { ...quorum, 'x-delivery-limit': 7 } }),
        options: { quorumDeliveryLimit: 25 },
        argument: 'x-delivery-limit',
        have: '7',
        want: '25',
        option: 'transport.quorum_delivery_limit',
        urlOption: 'rabbit_quorum_delivery_limit',
        fix: 'set transport.quorum_delivery_limit = 7 (rabbit_quorum_delivery_limit=7 in the URL)',
      },
    ],
    [
      'no limit in memory',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true, arguments: quorum }),
        options: { quorumMaxMemoryLength: 1000 },
        argument: 'x-max-in-memory-length',
        have: 'none',
        want: '1000',
        option: 'transport.quorum_max_memory_length',
        urlOption: 'rabbit_quorum_max_memory_length',
        fix: 'set transport.quorum_max_memory_length = 0',
      },
    ],
    [
      'a queue that goes with its last consumer',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true, autoDelete: true }),
        options: { topology: 'classic-durable' },
        argument: 'auto_delete',
        have: 'true',
        want: 'false',
        fix: 'switch amqp_auto_delete off',
      },
    ],
    [
      'a queue of a bounded length',
      {
        declare: (channel, topic) => channel.assertQueue(topic, { durable: true, arguments: { 'x-max-length': 9 } }),
        options: { topology: 'classic-durable' },
        argument: 'x-max-length',
        have: '9',
        want: 'none',
        fix: 'set limits by policies',
      },
    ],
  ])('is named with both values and what to change: %s', async (_name, expected) => {
    const { topic, server, transport } = openBus(expected.options)
    await onChannel(url, (channel) => expected.declare(channel, topic))

    const error = await refusal(transport.listen(server, () => {}, { prefetch: 1 }))

    const { argument, have, want } = expected
    expect(error.details).toEqual({
      what: `queue ${topic}`,
      argument,
      have,
      want,
      reason: expect.stringContaining(`inequivalent arg '${argument}' for queue '${topic}'`),
      ...(expected.option && { option: expected.option, oslo_option: expected.urlOption }),
      fix: expect.stringContaining(expected.fix),
    })
    expect(error.message).toContain(`the queue ${topic} is on the broker with ${argument} ${have}`)
    expect(error.message).toContain(`declared here with ${want}; `)
    expect(error.message).toContain(expected.fix)
  })

  it.each([
    ['direct', { durable: true }, { argument: 'type', have: 'direct', want: 'topic', option: 'transport.exchange' }],
    ['topic', { durable: false }, { argument: 'durable', have: 'false', want: 'true', option: 'transport.topology' }],
    ['topic', { durable: true, autoDelete: true }, { argument: 'auto_delete', have: 'true', want: 'false' }],
  ])('is named to publishers, too: an exchange that is %s %j', async (type, flags, details) => {
    const { exchange, topic, transport, made } = openBus()
    await onChannel(url, (channel) => channel.assertExchange(exchange, type, flags))
    const letters = { kind: 'queue', queue: `${exchange}-dead-letters`, durable: true } as const
    made.published(letters)

    const [error] = await Promise.all([
      refusal(transport.publish({ kind: 'topic', exchange, topic }, { body: '1', mandatory: true })),
      // Others still pass.
      transport.publish(letters, { body: '2', mandatory: false }),
    ])

    expect(error.details).toMatchObject({ what: `exchange ${exchange}`, ...details })
  })

  it('is named when a fanout exchange outlives the broker at one side only', async () => {
    const { topic, server, transport } = openBus({ transientQuorumQueues: true })
    await onChannel(url, (channel) =>
      channel.assertExchange(`${topic}_fanout`, 'fanout', { durable: false, autoDelete: true }),
    )

    const error = await refusal(transport.listen(server, () => {}, { prefetch: 1 }))

    expect(error.details).toMatchObject({
      what: `exchange ${topic}_fanout`,
      have: 'false',
      want: 'true',
      option: 'transport.transient_quorum_queues',
      oslo_option: 'rabbit_transient_quorum_queue',
      fix: expect.stringContaining('rabbit_transient_quorum_queue=0'),
    })
  })

  it('has to be deleted when it is for dead letters: their limit is nobody’s choice', async () => {
    const { exchange, transport, made } = openBus()
    const queue = `${exchange}-dead-letters`
    const letters = { kind: 'queue', queue, durable: true } as const satisfies Destination
    made.published(letters)
    await onChannel(url, (channel) => channel.assertQueue(queue, { durable: true, arguments: quorum }))

    const error = await refusal(transport.publish(letters, { body: '1', mandatory: false }))

    expect(error.details).toMatchObject({ argument: 'x-delivery-limit', have: 'none', want: '2147483647' })
    expect(error.details).not.toHaveProperty('option')
  })

  it.each(['classic-durable', 'oslo-default'] as const)(
    'names both topologies that have it so when it is for dead letters of peers with %s, for quorum',
    async (theirs) => {
      const { exchange, transport, made } = openBus()
      const letters = { kind: 'queue', queue: `${exchange}-dead-letters`, durable: true } as const
      made.published(letters)
      const peer = new RabbitTransport({ url, logger: silent, topology: theirs })
      onTestFinished(() => peer.close())
      await peer.declare(letters)

      const error = await refusal(transport.declare(letters))

      expect(error.details).toMatchObject({
        what: `queue ${letters.queue}`,
        argument: 'x-queue-type',
        have: 'none',
        want: 'quorum',
        option: 'transport.topology',
        oslo_option: 'amqp_durable_queues=1, or rabbit_quorum_queue=0',
        fix: expect.stringContaining(
          'set transport.topology = "classic-durable", or "oslo-default" where the exchange of the topics is not durable',
        ),
      })
    },
  )

  it.each(['quorum', 'classic-durable'] as const)(
    'is led to oslo-default at once, by the first thing that a server of %s consumes from',
    async (ours) => {
      const { server, transport } = openBus({ topology: ours })
      const peer = new RabbitTransport({ url, logger: silent, topology: 'oslo-default' })
      onTestFinished(() => peer.close())
      await peer.listen(server, () => {}, { prefetch: 1 })

      const error = await refusal(transport.listen(server, () => {}, { prefetch: 1 }))

      expect(error.details.fix).toContain('set transport.topology = "oslo-default" (rabbit_quorum_queue=0 in the URL)')
    },
  )

  it('is somebody’s own: says so', async () => {
    const { topic, server, transport } = openBus()
    const owner = await connect(url)
    onTestFinished(() => owner.close())
    const channel = await owner.createChannel()
    await channel.assertQueue(topic, { exclusive: true })

    const error = await refusal(transport.listen(server, () => {}, { prefetch: 1 }))

    expect(error.message).toContain('it belongs to one other connection')
    await channel.deleteQueue(topic)
  })

  it('is told although the broker ends the connection over it', async () => {
    const connection = await connect(url)
    connection.on('error', () => {})
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    const unknownType = {
      kind: 'exchange',
      name: 'x',
      type: 'nonsense' as 'topic',
      durable: true,
      autoDelete: false,
    } as const

    await expect(declareOn(channel, [unknownType])).rejects.toThrow('unknown exchange type')
  })

  it('is a transient queue, which RabbitMQ 4.3 refuses with its defaults', () => {
    // As published by users of RabbitMQ 4; no such version runs here.
    const message =
      'Connection closed: 541 (INTERNAL-ERROR) with message "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\nBy default, this feature is not permi..."'
    const error = Object.assign(new Error(message), { code: 541 })
    const queue = {
      kind: 'queue',
      name: 'T',
      durable: false,
      exclusive: false,
      autoDelete: false,
      arguments: {},
    } as const

    expect(mismatchOf(error, queue)?.message).toContain('set transport.topology to quorum or classic-durable')
    expect(mismatchOf(Object.assign(new Error('541 something else'), { code: 541 }), queue)).toBeUndefined()
  })

  it('is not named by an error that may pass', () => {
    const binding = { kind: 'binding', queue: 'T', exchange: 'X', routingKey: 'T' } as const

    expect(mismatchOf(new Error('Channel ended, no reply will be forthcoming'), binding)).toBeUndefined()
    expect(mismatchOf(Object.assign(new Error('404'), { code: 404 }), binding)).toBeUndefined()
  })
})
