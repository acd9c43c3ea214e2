import { connect } from 'amqplib'
import { pino } from 'pino'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { MessageUndeliverable, TransportUnavailable } from '../../src/errors.ts'
import { endedWithin } from '../../src/rpc/abortable.ts'
import { RabbitTransport, type RabbitTransportOptions } from '../../src/rpc/drivers/rabbit.ts'
import type { Delivery, Destination, Source } from '../../src/rpc/transport.ts'
import {
  closedAsItOpens,
  firstHangs,
  hangsAfterConsumers,
  withoutCancelOks,
  withoutCancels,
  withoutCloseOks,
  withoutConsumeOks,
} from '../support/amqp-frames.ts'
import { onChannel } from '../support/raw-channel.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { freshNames, MadeOnBroker, silent } from '../support/transports.ts'

/** What only a broker at the other end of a wire can do to us. */
describe('RabbitTransport', () => {
  async function openProxied(options: Partial<RabbitTransportOptions> = {}) {
    const url = inject('amqpUrl')
    const { exchange, topicPrefix } = freshNames()
    const topic = `${topicPrefix}scheduler`
    const anyServer = { kind: 'topic', exchange, topic } as const satisfies Destination
    const server = { kind: 'server', exchange, topic, server: 'node1' } as const satisfies Source
    const made = new MadeOnBroker(url)
    made.listened(server)
    onTestFinished(() => made.remove())
    const proxy = await TcpProxy.to(url)
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    const reasons: string[] = []
    const transport = new RabbitTransport({
      url: proxy.through(url),
      logger: silent,
      onWaiting: (reason) => reasons.push(reason),
      ...options,
    })
    onTestFinished(() => transport.close())
    const texts: string[] = []
    const keep = (delivery: Delivery) => {
      texts.push(delivery.body.toString())
      delivery.ack()
    }
    const listen = (on = transport) => on.listen(server, keep, { prefetch: 10 })
    const signs = { ...server, server: 'signs' } as const
    const gather = () => {
      const source = { ...signs, kind: 'directed' } as const
      made.listened(source)
      return transport.listen(source, keep, { prefetch: 10, gatherMs: 50 })
    }
    // Distinct ones: an acknowledgement that a cut has lost brings its message again.
    const received = (...expected: string[]) =>
      vi.waitFor(() => expect([...new Set(texts)]).toEqual(expected), { timeout: 10_000, interval: 10 })
    const servers = { anyServer, server, signs }
    return { url, topic, exchange, ...servers, made, proxy, transport, reasons, texts, listen, gather, received }
  }

  it('goes on consuming and publishing after its connections were cut, under the same names', async () => {
    const { proxy, transport, anyServer, topic, listen, received } = await openProxied()
    await listen()
    await transport.publish(anyServer, { body: '1', mandatory: true })
    await received('1')

    for (const round of ['2', '3']) {
      proxy.cut()
      // Lost when the publisher has not noticed yet, and sent after the reconnect when it has.
      await vi.waitFor(() => transport.publish(anyServer, { body: round, mandatory: true }), { timeout: 10_000 })
      await vi.waitFor(() => expect(transport.state).toBe('connected'), { timeout: 10_000 })
    }
    await received('1', '2', '3')

    const toMe = { kind: 'server', exchange: anyServer.exchange, topic, server: 'node1' } as const
    await transport.publish(toMe, { body: 'directed', mandatory: true }, { signal: AbortSignal.timeout(10_000) })
    await received('1', '2', '3', 'directed')
    await vi.waitFor(async () => {
      await transport.publish(
        { kind: 'fanout', topic },
        { body: 'all', mandatory: true },
        { signal: AbortSignal.timeout(5_000) },
      )
    })
    await received('1', '2', '3', 'directed', 'all')
  })

  it('waits for a broker that is not there yet, says so, and publishes once it is', async () => {
    const { proxy, transport, anyServer, reasons, listen, received } = await openProxied()
    proxy.goDown()
    const connected = transport.connect(AbortSignal.timeout(20_000))
    const listening = listen()
    await vi.waitFor(() => expect(reasons.length).toBeGreaterThan(0), { timeout: 10_000 })
    expect(transport.state).toBe('connecting')

    proxy.restore()

    await Promise.all([connected, listening])
    await transport.publish(anyServer, { body: 'late', mandatory: true })
    await received('late')
  })

  it('gives up waiting for the broker with the reason of the signal', async () => {
    const { proxy, transport, anyServer } = await openProxied()
    proxy.goDown()
    const reason = new Error('no patience')

    await expect(transport.connect(abortedSoon(reason))).rejects.toBe(reason)
    const patience = { signal: abortedSoon(reason) }
    await expect(transport.publish(anyServer, { body: '1', mandatory: true }, patience)).rejects.toBe(reason)
  })

  it('says of an unconfirmed message when the connection breaks that it may have arrived', async () => {
    const { url, topic, exchange, proxy, transport, anyServer, listen, received } = await openProxied()
    await listen()
    await transport.publish(anyServer, { body: 'confirmed', mandatory: true })
    await received('confirmed')
    const copies = await copiesOf(url, exchange, topic)
    proxy.silence()

    const published = transport.publish(anyServer, { body: 'unknown', mandatory: true })
    published.catch(() => {})
    await vi.waitFor(async () => expect(await copies()).toBe(1), { timeout: 10_000 })
    proxy.goDown()

    await expect(published).rejects.toThrow(TransportUnavailable)
    proxy.restore()
    await received('confirmed', 'unknown')
  })

  it('gives an unsettled message to the next connection, and knows that the old delivery is lost', async () => {
    const { proxy, transport, server, anyServer } = await openProxied()
    const deliveries: { lost?: boolean; deliveryCount: number; ack(): void }[] = []
    await transport.listen(server, (delivery) => deliveries.push(delivery), { prefetch: 1 })
    await transport.publish(anyServer, { body: '1', mandatory: true })
    await vi.waitFor(() => expect(deliveries).toHaveLength(1))

    proxy.cut()
    await vi.waitFor(() => expect(deliveries).toHaveLength(2), { timeout: 10_000 })
    deliveries[0]?.ack()
    deliveries[1]?.ack()

    expect(deliveries.map(({ lost, deliveryCount }) => ({ lost, deliveryCount }))).toEqual([
      { lost: true, deliveryCount: 1 },
      { lost: false, deliveryCount: 2 },
    ])
  })

  it('declares and consumes again when its queue is deleted under it', async () => {
    const { url, topic, transport, anyServer, listen, received } = await openProxied()
    await listen()

    await onChannel(url, (channel) => channel.deleteQueue(topic))

    await vi.waitFor(() => transport.publish(anyServer, { body: 'again', mandatory: true }), { timeout: 10_000 })
    await received('again')
  })

  it('goes on gathering when its queue was deleted meanwhile, and after the connection was cut', async () => {
    const { url, topic, proxy, transport, texts, signs, gather } = await openProxied()
    await gather()
    const sendsAgain = (body: string) =>
      vi.waitFor(() => transport.publish(signs, { body, mandatory: true }), { timeout: 10_000 })
    const arrives = (body: string) => vi.waitFor(() => expect(texts).toContain(body), { timeout: 10_000 })

    await onChannel(url, (channel) => channel.deleteQueue(`${topic}.signs`))
    await sendsAgain('after the queue was gone')
    await arrives('after the queue was gone')
    proxy.cut()
    await sendsAgain('after the cut')

    await arrives('after the cut')
  })

  it('finds, when asked, the consumer that it has lost without being told, and has it again after connecting anew', async () => {
    const { url, topic, exchange, proxy, transport, anyServer, listen, received } = await openProxied({
      topology: 'classic-durable',
    })
    proxy.filter(withoutCancels)
    await listen()
    await onChannel(url, async (channel) => {
      await channel.deleteQueue(topic)
      await channel.assertQueue(topic, { durable: true })
      await channel.bindQueue(topic, exchange, topic)
    })
    await transport.publish(anyServer, { body: 'waits', mandatory: true })

    expect(await transport.check(AbortSignal.timeout(10_000))).toEqual([`the queue ${topic} has no consumer any more`])
    await transport.reconnect('a test')

    await received('waits')
    await vi.waitFor(async () => expect(await transport.check(AbortSignal.timeout(10_000))).toEqual([]), {
      timeout: 10_000,
    })
  })

  it.each([
    ['a new channel', 1],
    ['a new connection', 3],
  ])(
    'begins to consume by %s when the broker says nothing about its queue, and its heartbeats go on',
    async (_, times) => {
      const warnings: { readonly reason: string }[] = []
      const logger = pino({ level: 'warn' }, { write: (line: string) => void warnings.push(JSON.parse(line)) })
      const { proxy, topic, transport, anyServer, listen, received } = await openProxied({
        answerTimeoutMs: 300,
        logger,
      })
      proxy.filter(withoutConsumeOks(times))

      await listen()
      await transport.publish(anyServer, { body: 'taken', mandatory: true })

      await received('taken')
      const unanswered = warnings.filter(({ reason }) => reason.startsWith('the broker has not answered'))
      expect(unanswered.map(({ reason }) => reason)).toEqual(
        Array.from({ length: times }, () => `the broker has not answered within 300 ms: consuming from ${topic}`),
      )
      expect(transport.counts.reconnects).toBe(times < 3 ? 0 : 1)
    },
  )

  it('is closed at once while the broker says nothing about its queue', async () => {
    const { url, topic, proxy, transport, listen } = await openProxied()
    proxy.filter(withoutConsumeOks(Number.POSITIVE_INFINITY))
    const listening = listen()
    listening.catch(() => {})
    await vi.waitFor(
      () =>
        onChannel(url, async (channel) => {
          expect(await channel.checkQueue(topic)).toMatchObject({ consumerCount: 1 })
        }),
      { timeout: 10_000 },
    )

    expect(await endedWithin(4_000, transport.close())).toBe(true)

    await expect(listening).rejects.toThrow(TransportUnavailable)
  })

  it('has one new connection for several listeners that hear nothing, though the old one does not end', async () => {
    const { topic, proxy, transport, made, listen } = await openProxied({ answerTimeoutMs: 300 })
    proxy.filter(firstHangs())

    const others = [1, 2, 3, 4, 5].map((number) => {
      const replies = { kind: 'reply', queue: `${topic}_reply_${number}` } as const
      made.listened(replies)
      return transport.listen(replies, () => {}, { prefetch: 0 })
    })
    await Promise.all([listen(), ...others])

    expect(transport.counts.reconnects).toBe(1)
  })

  it('consumes by the new connection at once when it connects anew, though the broker does not end the old one', async () => {
    const { proxy, transport, anyServer, listen, received } = await openProxied()
    proxy.filter(withoutCloseOks)
    await listen()

    await transport.reconnect('a test')
    await transport.publish(anyServer, { body: 'taken', mandatory: true })

    await received('taken')
  })

  it('takes what is settled while its connection ends, and is not called deaf for having ended on it', async () => {
    const { proxy, transport, server, anyServer } = await openProxied()
    proxy.filter(withoutCloseOks)
    const deliveries: Delivery[] = []
    await transport.listen(server, (delivery) => deliveries.push(delivery), { prefetch: 1 })
    await transport.publish(anyServer, { body: 'given back', mandatory: true })
    await vi.waitFor(() => expect(deliveries).toHaveLength(1), { timeout: 10_000 })

    const reconnected = transport.reconnect('a test')
    deliveries[0]?.requeue()
    await vi.waitFor(() => expect(transport.counts.reconnects).toBe(2), { timeout: 10_000 })

    expect(await transport.check(AbortSignal.timeout(10_000))).toEqual([])
    await reconnected
    await vi.waitFor(() => expect(deliveries).toHaveLength(2), { timeout: 10_000 })
  })

  it('gives back what is unsettled when it is closed, though the broker does not say that its consumers are gone', async () => {
    const { url, topic, proxy, transport, server, anyServer } = await openProxied()
    proxy.filter(withoutCancelOks)
    const deliveries: Delivery[] = []
    const listener = await transport.listen(server, (delivery) => deliveries.push(delivery), { prefetch: 1 })
    await transport.publish(anyServer, { body: 'unsettled', mandatory: true })
    await vi.waitFor(() => expect(deliveries).toHaveLength(1), { timeout: 10_000 })

    await listener.close()

    await vi.waitFor(
      () =>
        onChannel(url, async (channel) => {
          expect(await channel.checkQueue(topic)).toMatchObject({ messageCount: 1 })
        }),
      { timeout: 10_000 },
    )
  })

  it('goes on gathering when the broker says nothing about one of its consumers', async () => {
    const { proxy, transport, texts, signs, gather } = await openProxied({ answerTimeoutMs: 300 })
    let hangs = false
    proxy.filter(
      hangsAfterConsumers(2, () => {
        hangs = true
      }),
    )
    await gather()
    await vi.waitFor(() => expect(hangs).toBe(true), { timeout: 10_000 })

    await transport.publish(signs, { body: 'taken', mandatory: true })

    await vi.waitFor(() => expect(texts).toContain('taken'), { timeout: 10_000 })
  })

  it.each([
    { when: 'it shuts down', code: 320, text: 'CONNECTION_FORCED', told: '320 (CONNECTION-FORCED)' },
    { when: 'it fails', code: 541, text: 'INTERNAL_ERROR', told: '541 (INTERNAL-ERROR)' },
    { when: 'it refuses it', code: 530, text: 'NOT_ALLOWED', told: '530 (NOT-ALLOWED)' },
  ])(
    'connects anew when the broker opens a connection and closes it in one go, as $when',
    async ({ code, text, told }) => {
      const { proxy, transport, anyServer, listen, received, reasons } = await openProxied()
      proxy.filter(closedAsItOpens({ code, text }))

      await listen()
      await transport.publish(anyServer, { body: 'taken', mandatory: true })

      await received('taken')
      const reason = `the broker closed the connection as it was opened: Connection closed: ${told} with message "${text}"`
      expect(reasons.filter((each) => each.endsWith(reason))).toHaveLength(1)
    },
  )

  it('declares the exchange again when it is deleted under it, and fails no other message for good', async () => {
    const { url, exchange, transport, anyServer, listen, received } = await openProxied()
    const listener = await listen()
    await transport.publish(anyServer, { body: '1', mandatory: true })
    await received('1')

    await onChannel(url, (channel) => channel.deleteExchange(exchange))
    await expect(transport.publish(anyServer, { body: '2', mandatory: true })).rejects.toMatchObject({
      code: 'MESSAGE_UNDELIVERABLE',
      message: expect.stringContaining(`NOT_FOUND - no exchange '${exchange}' in vhost '/'`),
    })
    await expect(transport.publish(anyServer, { body: '3', mandatory: true })).rejects.toThrow(MessageUndeliverable)
    await listener.close()
    await listen()

    await transport.publish(anyServer, { body: '4', mandatory: true })
    await received('1', '4')
  })

  it('makes a notification queue again that was deleted, before it loses a notification', async () => {
    const { url, topic, exchange, transport, made } = await openProxied()
    const fact = { kind: 'notification', exchange, topic, priority: 'info' } as const
    made.published(fact)
    await transport.publish(fact, { body: '1', mandatory: false })

    await onChannel(url, (channel) => channel.deleteQueue(`${topic}.info`))
    await transport.publish(fact, { body: '2', mandatory: false })

    const message = await onChannel(url, (channel) => channel.get(`${topic}.info`, { noAck: true }))
    expect(message ? message.content.toString() : undefined).toBe('2')
  })

  it('tells a publisher of an exchange that was declared otherwise, and other messages still pass', async () => {
    const { url, exchange, anyServer, transport, made } = await openProxied()
    await onChannel(url, (channel) => channel.assertExchange(exchange, 'direct', { durable: true }))
    const letters = { kind: 'queue', queue: `${exchange}-dead-letters`, durable: true } as const
    made.published(letters)

    const outcomes = await Promise.allSettled([
      transport.publish(anyServer, { body: '1', mandatory: true }),
      transport.publish(letters, { body: '2', mandatory: false }),
    ])

    expect(outcomes).toMatchObject([
      { status: 'rejected', reason: { code: 'TOPOLOGY_MISMATCH', details: { what: `exchange ${exchange}` } } },
      { status: 'fulfilled' },
    ])
  })

  it('puts on the wire the properties that Python insists on, and nothing of ours that it would read', async () => {
    const { url, topic, anyServer, transport, listen } = await openProxied()
    await (await listen()).close()

    await transport.publish(anyServer, { body: '{}', mandatory: true, expirationMs: 2500, headers: { a: 'b' } })

    const message = await onChannel(url, (channel) => channel.get(topic, { noAck: true }))
    expect(message ? message.properties : undefined).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      headers: { a: 'b' },
      deliveryMode: 2,
      priority: 0,
      expiration: '2500',
      replyTo: undefined,
      correlationId: undefined,
    })
  })

  it.each(['classic-durable', 'oslo-default'] as const)(
    'declares as oslo.messaging does with the topology %s',
    async (topology) => {
      const { url, topic, exchange, anyServer, listen, received, transport, made } = await openProxied({ topology })
      const fact = { kind: 'notification', exchange, topic, priority: 'info' } as const
      made.published(fact)
      await listen()
      await transport.publish(anyServer, { body: '1', mandatory: true })
      await transport.publish(fact, { body: '2', mandatory: true })
      await received('1')

      const durable = topology === 'classic-durable'
      // Declared as Python peers declare it: any difference would be refused.
      await onChannel(url, async (channel) => {
        await channel.assertExchange(exchange, 'topic', { durable, autoDelete: false })
        await channel.assertExchange(`${topic}_fanout`, 'fanout', { durable: false, autoDelete: true })
        for (const queue of [topic, `${topic}.node1`, `${topic}.info`]) await channel.assertQueue(queue, { durable })
      })
    },
  )

  it('has fanouts and replies in quorum queues when told so, as peers with rabbit_transient_quorum_queue', async () => {
    const { url, topic, transport, listen, received } = await openProxied({ transientQuorumQueues: true })
    await listen()
    await transport.listen({ kind: 'reply', queue: `${topic}_reply` }, () => {}, { prefetch: 0 })

    await transport.publish({ kind: 'fanout', topic }, { body: 'all', mandatory: true })

    await received('all')
    await onChannel(url, async (channel) => {
      await channel.assertExchange(`${topic}_fanout`, 'fanout', { durable: true, autoDelete: true })
      const arguments_ = { 'x-queue-type': 'quorum', 'x-expires': 1_800_000 }
      await channel.assertQueue(`${topic}_reply`, { durable: true, arguments: arguments_ })
    })
  })

  it('leaves no fanout or reply queue behind when it closes in order', async () => {
    const { url, topic, transport, listen } = await openProxied()
    await listen()
    const queue = `${topic}_reply`
    await transport.listen({ kind: 'reply', queue }, () => {}, { prefetch: 0 })

    await transport.close()

    // The fanout exchange goes with its last queue.
    await onChannel(url, async (channel) => {
      await expect(channel.checkExchange(`${topic}_fanout`)).rejects.toThrow('404')
    })
    await onChannel(url, async (channel) => {
      await expect(channel.checkQueue(queue)).rejects.toThrow('404')
    })
  })

  it('tries the other hosts of its URL', async () => {
    const url = new URL(inject('amqpUrl'))
    const { username, password } = url
    const transport = new RabbitTransport({
      url: `rabbit://nobody:x@127.0.0.1:1,${username}:${password}@${url.hostname}:${url.port || 5672}${url.pathname}`,
      logger: silent,
    })
    onTestFinished(() => transport.close())

    await transport.connect(AbortSignal.timeout(20_000))

    expect(transport.description).toMatch(/^RabbitMQ \S+ at amqp:\/\/127\.0\.0\.1:1,/)
  })

  it('says why the broker refuses it, and never the password', async () => {
    const { hostname, port } = new URL(inject('amqpUrl'))
    const lines: string[] = []
    const reasons: string[] = []
    const transport = new RabbitTransport({
      url: `amqp://guest:s3cr3t@${hostname}:${port || 5672}/nowhere`,
      logger: pino({ level: 'trace' }, { write: (line) => lines.push(line) }),
      onWaiting: (reason) => reasons.push(reason),
    })
    onTestFinished(() => transport.close())
    const connecting = transport.connect(AbortSignal.timeout(20_000))
    connecting.catch(() => {})

    const refusal = 'the broker refused user guest (403 ACCESS_REFUSED); correct user and password in the URL'
    await vi.waitFor(() => expect(reasons.join()).toContain(refusal), { timeout: 10_000 })
    await transport.close()

    await expect(connecting).rejects.toThrow(TransportUnavailable)
    expect(lines.length).toBeGreaterThan(0)
    expect([...lines, ...reasons, transport.description].join()).not.toContain('s3cr3t')
  })

  it('says that its vhost is not there, or not for it, and how to change that', async () => {
    const reasons: string[] = []
    const url = new URL(inject('amqpUrl'))
    const { username } = url
    url.pathname = `/${encodeURIComponent("no where's")}`
    const transport = new RabbitTransport({
      url: url.href,
      logger: silent,
      onWaiting: (reason) => reasons.push(reason),
    })
    onTestFinished(() => transport.close())

    const connecting = transport.connect(AbortSignal.timeout(20_000))
    connecting.catch(() => {})
    await vi.waitFor(() => expect(reasons).not.toEqual([]), { timeout: 10_000 })

    const text = reasons.join()
    expect(text).toContain("the broker does not open vhost no where's (530 NOT_ALLOWED)")
    expect(text).toContain("(rabbitmqctl add_vhost 'no where'\\''s')")
    expect(text).toContain(`(rabbitmqctl set_permissions -p 'no where'\\''s' ${username} '.*' '.*' '.*')`)
  })

  it('closes in bounded time although the broker says nothing any more', async () => {
    const { topic, proxy, transport, made } = await openProxied()
    const replies = { kind: 'reply', queue: `${topic}_reply` } as const
    made.listened(replies)
    await transport.listen(replies, () => {}, { prefetch: 0 })
    proxy.silence()

    await transport.close()

    expect(transport.state).toBe('closed')
  })
})

/** Counts what the broker takes from now on for a routing key. */
async function copiesOf(url: string, exchange: string, routingKey: string): Promise<() => Promise<number>> {
  const connection = await connect(url)
  onTestFinished(() => connection.close())
  const channel = await connection.createChannel()
  const { queue } = await channel.assertQueue('', { exclusive: true })
  await channel.bindQueue(queue, exchange, routingKey)
  return async () => (await channel.checkQueue(queue)).messageCount
}

function abortedSoon(reason: Error): AbortSignal {
  const controller = new AbortController()
  setTimeout(() => controller.abort(reason), 20)
  return controller.signal
}
