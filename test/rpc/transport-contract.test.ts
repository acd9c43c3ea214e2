import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MessageUndeliverable, TransportUnavailable } from '../../src/errors.ts'
import type { Delivery, DeliveryHandler, Destination, OutboundMessage, Transport } from '../../src/rpc/transport.ts'
import { transports } from '../support/transports.ts'

describe.each(transports)('transport contract: $name', ({ open }) => {
  async function openBus() {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const { exchange, topicPrefix } = bus.names
    const topic = `${topicPrefix}scheduler`
    return {
      connect: () => bus.connect(),
      exchange,
      topic,
      anyServer: { kind: 'topic', exchange, topic } as const,
      everyServer: { kind: 'fanout', topic } as const,
      serverNamed: (server: string) => ({ kind: 'server', exchange, topic, server }) as const,
      directedTo: (server: string) => ({ kind: 'directed', exchange, topic, server }) as const,
      deadLetters: { kind: 'queue', queue: `${topicPrefix}dead-letters`, durable: true } as const,
      replies: { kind: 'reply', queue: `${topicPrefix}reply` } as const,
      notifications: (pool?: string) =>
        ({
          kind: 'notifications',
          exchange,
          topics: [`${topicPrefix}facts`],
          priorities: ['info', 'error'],
          ...(pool && { pool: `${topicPrefix}${pool}` }),
        }) as const,
      fact: (priority: string) => ({ kind: 'notification', exchange, topic: `${topicPrefix}facts`, priority }) as const,
    }
  }

  it('delivers body, content type and headers as they were sent', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })

    await transport.publish(anyServer, { ...text('{"größe": "☃"}'), headers: { traceparent: '00-ab-cd-01' } })

    const [delivery] = await inbox.holds(1)
    expect(delivery).toMatchObject({
      contentType: 'application/json',
      headers: { traceparent: '00-ab-cd-01' },
      fanout: false,
      deliveryCount: 1,
      lost: false,
    })
    expect(delivery?.body).toEqual(Buffer.from('{"größe": "☃"}'))
  })

  it('says of a delivery which queue it came from, when it was sent, and how long it may wait', async () => {
    const { connect, topic, anyServer, everyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })
    const before = Date.now()

    await transport.publish(anyServer, text('any'))
    await transport.publish(serverNamed('node1'), { ...text('directed'), expirationMs: 60_000 })
    await transport.publish(everyServer, text('all'))

    const deliveries = await inbox.holds(3)
    const [any, directed, all] = ['any', 'directed', 'all'].map((word) =>
      deliveries.find(({ body }) => body.toString() === word),
    )
    expect([any?.queue, directed?.queue]).toEqual([topic, `${topic}.node1`])
    expect(all?.queue).toMatch(new RegExp(`^${topic}_fanout_[0-9a-f]{32}$`))
    expect([any?.expirationMs, directed?.expirationMs]).toEqual([undefined, 60_000])
    for (const { sentAtMs = 0 } of deliveries) {
      expect(sentAtMs % 1000).toBe(0)
      expect(sentAtMs).toBeGreaterThan(before - 1000)
      expect(sentAtMs).toBeLessThanOrEqual(Date.now())
    }
  })

  it('sends bytes and a content type as they are, and headers of every kind, to a queue by its name', async () => {
    const { connect, topic, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })
    const headers = { text: 'ü', number: -7, large: 2 ** 40, half: 0.5, yes: true, table: { of: ['things', 1] } }
    const body = Buffer.from([0, 255, 128, 10])

    await transport.publish(
      { kind: 'queue', queue: `${topic}.node1` },
      { body, contentType: 'application/octet-stream', mandatory: true, headers },
    )

    const [delivery] = await inbox.holds(1)
    expect(delivery).toMatchObject({ contentType: 'application/octet-stream', headers, queue: `${topic}.node1` })
    expect(delivery?.body).toEqual(body)
  })

  it('never delivers inside the stack of publish', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.acknowledge, { prefetch: 10 })

    const published = transport.publish(anyServer, text('1'))
    expect(inbox.texts).toEqual([])
    await published

    await inbox.holds(1)
  })

  it('gives each message of a topic to exactly one of the competing servers, and work to each', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const [one, two] = [new Inbox(), new Inbox()]
    await transport.listen(serverNamed('node1'), one.acknowledge, { prefetch: 1 })
    await (await connect()).listen(serverNamed('node2'), two.acknowledge, { prefetch: 1 })

    const sent = Array.from({ length: 20 }, (_, n) => String(n))
    await Promise.all(sent.map((body) => transport.publish(anyServer, text(body))))

    await vi.waitFor(() => expect([...one.texts, ...two.texts].toSorted()).toEqual(sent.toSorted()))
    expect(one.texts).not.toEqual([])
    expect(two.texts).not.toEqual([])
  })

  it('hands out no more than the prefetch allows until something is settled', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const [busy, free] = [new Inbox(), new Inbox()]
    await transport.listen(serverNamed('node1'), busy.keep, { prefetch: 2 })
    for (const body of ['1', '2', '3', '4', '5']) await transport.publish(anyServer, text(body))
    await busy.holds(2)

    await transport.listen(serverNamed('node2'), free.acknowledge, { prefetch: 1 })
    await free.holds(3)
    expect(busy.texts).toEqual(['1', '2'])

    busy.deliveries[0]?.ack()
    await transport.publish(anyServer, text('6'))
    await vi.waitFor(() => expect([...busy.texts, ...free.texts].toSorted()).toEqual(['1', '2', '3', '4', '5', '6']))
  })

  it('sends a directed message to the server of that name only', async () => {
    const { connect, serverNamed } = await openBus()
    const transport = await connect()
    const [one, two] = [new Inbox(), new Inbox()]
    await transport.listen(serverNamed('node1.example.org'), one.acknowledge, { prefetch: 10 })
    await transport.listen(serverNamed('node2.example.org'), two.acknowledge, { prefetch: 10 })

    await transport.publish(serverNamed('node2.example.org'), text('yours'))

    await two.holds(1)
    expect({ one: one.texts, two: two.texts }).toEqual({ one: [], two: ['yours'] })
  })

  it('sends a fanout to every server that listens now, and says that it is one', async () => {
    const { connect, everyServer, serverNamed } = await openBus()
    const transport = await connect()
    const [one, two] = [new Inbox(), new Inbox()]
    await transport.listen(serverNamed('node1'), one.acknowledge, { prefetch: 10 })
    await (await connect()).listen(serverNamed('node2'), two.acknowledge, { prefetch: 10 })

    await transport.publish(everyServer, { ...text('all'), mandatory: false })

    const [[atOne], [atTwo]] = await Promise.all([one.holds(1), two.holds(1)])
    expect([atOne?.fanout, atTwo?.fanout]).toEqual([true, true])
  })

  it('drops a fanout that nobody listens to, however often listeners come and go', async () => {
    const { connect, everyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    for (const round of ['1', '2', '3']) {
      await transport.publish(everyServer, { ...text('nobody'), mandatory: false })
      const listener = await transport.listen(serverNamed('node1'), inbox.acknowledge, { prefetch: 10 })
      await transport.publish(everyServer, { ...text(round), mandatory: false })
      await inbox.holds(Number(round))
      await listener.close()
    }

    expect(inbox.texts).toEqual(['1', '2', '3'])
  })

  it('returns a mandatory message to a topic, server or queue that never was, and drops any other', async () => {
    const { connect, anyServer, serverNamed, replies } = await openBus()
    const transport = await connect()

    for (const to of [anyServer, serverNamed('nobody'), replies]) {
      const destination = to.kind === 'reply' ? ({ kind: 'queue', queue: to.queue } as const) : to
      await expect(transport.publish(destination, { body: '1', mandatory: true })).rejects.toThrow(MessageUndeliverable)
      await transport.publish(destination, { body: '1', mandatory: false })
    }
  })

  it('matches every return to its own publish among many at once', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.acknowledge, { prefetch: 10 })

    const outcomes = await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) => {
        const to: Destination = n % 2 ? anyServer : serverNamed(`nobody${n}`)
        return transport.publish(to, text(String(n)))
      }),
    )

    expect(outcomes.map(({ status }, n) => (status === 'fulfilled') === (n % 2 === 1))).toEqual(Array(40).fill(true))
    await inbox.holds(20)
  })

  it('keeps what comes to a topic and to a server while nobody consumes', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const earlier = await transport.listen(serverNamed('node1'), new Inbox().acknowledge, { prefetch: 10 })
    await earlier.close()

    await transport.publish(anyServer, text('for any'))
    await transport.publish(serverNamed('node1'), text('for node1'))
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.acknowledge, { prefetch: 10 })

    await inbox.holds(2)
    expect(inbox.texts.toSorted()).toEqual(['for any', 'for node1'])
  })

  it('delivers a requeued message again, counts it, and ignores what is settled twice', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    const listener = await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 1 })
    await transport.publish(anyServer, text('again'))

    const [first] = await inbox.holds(1)
    first?.requeue()
    first?.ack()
    first?.requeue()
    const [, second] = await inbox.holds(2)
    second?.ack()
    second?.requeue()
    await transport.publish(anyServer, text('next'))

    await inbox.holds(3)
    expect(inbox.texts).toEqual(['again', 'again', 'next'])
    expect(inbox.deliveries.map(({ deliveryCount }) => deliveryCount)).toEqual([1, 2, 1])
    await listener.close()
  })

  it('gives back what a closed listener had not settled, to whoever comes next', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const [leaving, coming] = [new Inbox(), new Inbox()]
    const listener = await transport.listen(serverNamed('node1'), leaving.keep, { prefetch: 10 })
    for (const body of ['1', '2', '3']) await transport.publish(anyServer, text(body))
    await leaving.holds(3)
    leaving.deliveries[1]?.ack()

    await listener.close()
    await listener.close()
    await transport.listen(serverNamed('node2'), coming.acknowledge, { prefetch: 10 })

    await coming.holds(2)
    expect(coming.texts).toEqual(['1', '3'])
    expect(coming.deliveries.map(({ deliveryCount }) => deliveryCount)).toEqual([2, 2])
    expect(leaving.deliveries.map(({ lost }) => lost)).toEqual([true, false, true])
    leaving.deliveries[0]?.ack()
    leaving.deliveries[2]?.requeue()
  })

  it('gives back what a whole connection had not settled when it goes', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const [leaving, staying] = [await connect(), await connect()]
    const inbox = new Inbox()
    await leaving.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })
    await staying.publish(anyServer, text('work'))
    await inbox.holds(1)

    await leaving.close()
    const taker = new Inbox()
    await staying.listen(serverNamed('node2'), taker.acknowledge, { prefetch: 10 })

    const [again] = await taker.holds(1)
    expect(again?.deliveryCount).toBe(2)
  })

  it('lets a stopped listener settle what it holds, and gives it nothing new', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    const [stopped, other] = [new Inbox(), new Inbox()]
    const listener = await transport.listen(serverNamed('node1'), stopped.keep, { prefetch: 10 })
    await transport.publish(anyServer, text('1'))
    await stopped.holds(1)

    await listener.stop()
    await transport.publish(anyServer, text('2'))
    stopped.deliveries[0]?.ack()
    await listener.close()
    await transport.listen(serverNamed('node2'), other.acknowledge, { prefetch: 10 })

    await other.holds(1)
    expect({ stopped: stopped.texts, other: other.texts }).toEqual({ stopped: ['1'], other: ['2'] })
  })

  it('drops a message that waited longer than its expiration', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    await (await transport.listen(serverNamed('node1'), new Inbox().keep, { prefetch: 1 })).close()

    await transport.publish(anyServer, { ...text('stale'), expirationMs: 1 })
    await transport.publish(anyServer, { ...text('fresh'), expirationMs: 60_000 })
    await new Promise((resolve) => setTimeout(resolve, 20))
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.acknowledge, { prefetch: 10 })

    await inbox.holds(1)
    expect(inbox.texts).toEqual(['fresh'])
  })

  it('brings replies to their queue, which is gone with its listener', async () => {
    const { connect, replies } = await openBus()
    const [client, server] = [await connect(), await connect()]
    const inbox = new Inbox()
    const listener = await client.listen(replies, inbox.acknowledge, { prefetch: 0 })

    await server.publish({ kind: 'queue', queue: replies.queue }, text('answer'))
    await inbox.holds(1)
    await listener.close()

    await expect(server.publish({ kind: 'queue', queue: replies.queue }, text('late'))).rejects.toThrow(
      MessageUndeliverable,
    )
  })

  it('keeps dead letters, whose queue the publisher declares', async () => {
    const { connect, deadLetters } = await openBus()
    const transport = await connect()
    await transport.publish(deadLetters, { body: 'odd', mandatory: false, headers: { 'x-sevbus-from': 'scheduler' } })

    const inbox = new Inbox()
    await transport.listen({ kind: 'queue', queue: deadLetters.queue }, inbox.acknowledge, { prefetch: 10 })

    const [letter] = await inbox.holds(1)
    expect(letter?.headers).toMatchObject({ 'x-sevbus-from': 'scheduler' })
  })

  it('keeps notifications from before there is a consumer, one queue for each priority', async () => {
    const { connect, notifications, fact } = await openBus()
    const transport = await connect()
    await transport.publish(fact('info'), { ...text('created'), mandatory: false })
    await transport.publish(fact('error'), { ...text('failed'), mandatory: false })

    const inbox = new Inbox()
    await transport.listen(notifications(), inbox.acknowledge, { prefetch: 10 })

    await inbox.holds(2)
    expect(inbox.texts.toSorted()).toEqual(['created', 'failed'])
  })

  it('gives every pool a copy of each notification, and every member of a pool its share', async () => {
    const { connect, notifications, fact } = await openBus()
    const transport = await connect()
    const [shared, billingOne, billingTwo, audit] = [new Inbox(), new Inbox(), new Inbox(), new Inbox()]
    await transport.listen(notifications(), shared.acknowledge, { prefetch: 1 })
    await transport.listen(notifications('billing'), billingOne.acknowledge, { prefetch: 1 })
    await transport.listen(notifications('billing'), billingTwo.acknowledge, { prefetch: 1 })
    await transport.listen(notifications('audit'), audit.acknowledge, { prefetch: 1 })

    const sent = ['1', '2', '3', '4', '5', '6']
    for (const body of sent) await transport.publish(fact(Number(body) % 2 ? 'info' : 'error'), text(body))

    await vi.waitFor(() => {
      expect(shared.texts.toSorted()).toEqual(sent)
      expect([...billingOne.texts, ...billingTwo.texts].toSorted()).toEqual(sent)
      expect(audit.texts).toEqual(sent)
    })
  })

  it('shows a tap every notification while it is there, and takes none from the consumers', async () => {
    const { connect, notifications, fact } = await openBus()
    const transport = await connect()
    const [consumer, looker] = [new Inbox(), new Inbox()]
    await transport.publish(fact('info'), text('before'))
    await transport.listen(notifications(), consumer.acknowledge, { prefetch: 10 })
    const tap = await transport.listen({ ...notifications(), kind: 'notification-tap' }, looker.acknowledge, {
      prefetch: 10,
    })

    await transport.publish(fact('error'), text('while'))
    await looker.holds(1)
    await tap.close()
    await transport.publish(fact('info'), text('after'))

    await consumer.holds(3)
    expect(consumer.texts.toSorted()).toEqual(['after', 'before', 'while'])
    expect(looker.texts).toEqual(['while'])
  })

  it('refuses to connect with a signal that has aborted, with its reason', async () => {
    const { connect } = await openBus()
    const transport = await connect()
    const reason = new Error('given up')

    await expect(transport.connect(AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('declares where notifications and dead letters go before there are any, so that none is lost', async () => {
    const { connect, deadLetters, fact, notifications, anyServer } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()

    for (const to of [deadLetters, fact('info'), anyServer]) await transport.declare(to)
    const { queue } = deadLetters
    await transport.publish({ kind: 'queue', queue }, text('dead'))
    await transport.listen({ kind: 'queue', queue }, inbox.acknowledge, { prefetch: 10 })
    await transport.publish(fact('info'), text('fact'))
    await transport.listen(notifications(), inbox.acknowledge, { prefetch: 10 })

    await inbox.holds(2)
    expect(inbox.texts.toSorted()).toEqual(['dead', 'fact'])
    await expect(transport.publish(anyServer, text('nobody'))).rejects.toThrow(MessageUndeliverable)
  })

  it('tells how many messages wait in a queue and how many consume it, and of no queue', async () => {
    const { connect, topic, anyServer, serverNamed } = await openBus()
    const transport = await connect()
    expect(await transport.inspect(topic)).toBeUndefined()
    const inbox = new Inbox()
    const listener = await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 2 })
    await (await connect()).listen(serverNamed('node2'), inbox.keep, { prefetch: 2 })
    for (const n of ['1', '2', '3', '4', '5']) await transport.publish(anyServer, text(n))
    await inbox.holds(4)

    await vi.waitFor(async () => expect(await transport.inspect(topic)).toEqual({ messages: 1, consumers: 2 }))
    await listener.close()

    await vi.waitFor(async () => expect(await transport.inspect(topic)).toEqual({ messages: 3, consumers: 1 }))
    await expect(transport.inspect(topic, AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up')
    expect(transport.blocked).toBeUndefined()
  })

  it('gives several listeners of one name what is sent to it, each a part and all of it, and nothing of the topic', async () => {
    const { connect, anyServer, everyServer, serverNamed, directedTo } = await openBus()
    const transport = await connect()
    const [gathered, other] = [new Inbox(), new Inbox()]
    const gathering = { prefetch: 100, gatherMs: 50 }
    const listener = await transport.listen(directedTo('signs'), gathered.acknowledge, gathering)
    await (await connect()).listen(serverNamed('node1'), other.acknowledge, { prefetch: 10 })

    for (const to of [anyServer, everyServer]) await transport.publish(to, text('of the topic'))
    const sent = Array.from({ length: 60 }, (_, n) => String(n))
    for (const body of sent) await transport.publish(serverNamed('signs'), text(body))
    await gathered.holds(sent.length)
    expect(gathered.texts.toSorted()).toEqual(sent.toSorted())
    expect(other.texts.filter((body) => body !== 'of the topic')).toEqual([])

    await listener.close()
    await transport.publish(serverNamed('signs'), text('later'))
    const second = new Inbox()
    const { topic, server } = directedTo('signs')
    await vi.waitFor(async () => expect((await transport.inspect(`${topic}.${server}`))?.messages).toBe(1))
    expect(gathered.texts).toHaveLength(sent.length)
    await transport.listen(directedTo('signs'), second.acknowledge, gathering)
    await second.holds(1)
  })

  it('gives back what a listener that gathers has not settled', async () => {
    const { connect, serverNamed, directedTo } = await openBus()
    const transport = await connect()
    const [first, second] = [new Inbox(), new Inbox()]
    const listener = await transport.listen(directedTo('signs'), first.keep, { prefetch: 10, gatherMs: 50 })
    for (const body of ['1', '2', '3']) await transport.publish(serverNamed('signs'), text(body))
    await first.holds(3)
    first.deliveries[1]?.ack()

    await listener.close()
    await transport.listen(directedTo('signs'), second.acknowledge, { prefetch: 10, gatherMs: 50 })

    // What it has settled as it went may come again all the same: at least once.
    await vi.waitFor(() => expect(second.texts).toEqual(expect.arrayContaining(['1', '3'])))
  })

  it('finds nothing wrong with listeners that work, however often it looks, and takes nothing from them', async () => {
    const { connect, anyServer, everyServer, serverNamed, directedTo, replies } = await openBus()
    const transport = await connect()
    const inbox = new Inbox()
    await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })
    await transport.listen(replies, inbox.acknowledge, { prefetch: 0 })
    await transport.listen(directedTo('signs'), inbox.acknowledge, { prefetch: 10, gatherMs: 60_000 })
    const patience = new AbortController()

    expect(await transport.check(patience.signal)).toEqual([])
    await transport.publish(anyServer, text('1'))
    await inbox.holds(1)
    expect(await transport.check(patience.signal)).toEqual([])
    inbox.deliveries[0]?.ack()
    expect(await transport.check(patience.signal)).toEqual([])
    for (const to of [anyServer, everyServer, serverNamed('node1')]) await transport.publish(to, text('2'))
    await transport.publish({ kind: 'queue', queue: replies.queue }, text('2'))

    await inbox.holds(5)
    expect(inbox.texts).toEqual(['1', '2', '2', '2', '2'])
  })

  it('connects anew when told so: listeners go on, and what was unsettled comes again', async () => {
    const { connect, anyServer, serverNamed, replies } = await openBus()
    const transport = await connect()
    const [inbox, answers] = [new Inbox(), new Inbox()]
    await transport.listen(serverNamed('node1'), inbox.keep, { prefetch: 10 })
    await transport.listen(replies, answers.acknowledge, { prefetch: 0 })
    await transport.publish(anyServer, text('1'))
    await inbox.holds(1)

    await transport.reconnect('a test')
    await transport.connect(AbortSignal.timeout(10_000))

    await inbox.holds(2)
    expect(inbox.deliveries.map(({ deliveryCount, lost }) => ({ deliveryCount, lost }))).toEqual([
      { deliveryCount: 1, lost: true },
      { deliveryCount: 2, lost: false },
    ])
    inbox.deliveries[1]?.ack()
    await transport.publish(anyServer, text('2'))
    await transport.publish({ kind: 'queue', queue: replies.queue }, text('answer'))
    await inbox.holds(3)
    await answers.holds(1)
    expect(inbox.texts).toEqual(['1', '1', '2'])
  })

  it('refuses everything once it is closed, and may be closed again', async () => {
    const { connect, anyServer, serverNamed } = await openBus()
    const transport: Transport = await connect()
    expect(transport.state).toBe('connected')

    await transport.close()
    await transport.close()

    expect(transport.state).toBe('closed')
    await expect(transport.publish(anyServer, text('1'))).rejects.toThrow(TransportUnavailable)
    await expect(transport.declare(anyServer)).rejects.toThrow(TransportUnavailable)
    await expect(transport.inspect('queue')).rejects.toThrow(TransportUnavailable)
    await expect(transport.check(new AbortController().signal)).rejects.toThrow(TransportUnavailable)
    await expect(transport.reconnect('a test')).rejects.toThrow(TransportUnavailable)
    await expect(transport.listen(serverNamed('node1'), () => {}, { prefetch: 1 })).rejects.toThrow(
      TransportUnavailable,
    )
    await expect(transport.connect(new AbortController().signal)).rejects.toThrow(TransportUnavailable)
  })
})

function text(body: string): OutboundMessage {
  return { body, mandatory: true }
}

/** What a listener was given, in order. */
class Inbox {
  readonly deliveries: Delivery[] = []

  readonly keep: DeliveryHandler = (delivery) => {
    this.deliveries.push(delivery)
  }

  readonly acknowledge: DeliveryHandler = (delivery) => {
    this.deliveries.push(delivery)
    delivery.ack()
  }

  get texts(): string[] {
    return this.deliveries.map(({ body }) => body.toString())
  }

  async holds(count: number): Promise<readonly Delivery[]> {
    await vi.waitFor(() => expect(this.texts).toHaveLength(count), { timeout: 10_000, interval: 5 })
    return this.deliveries
  }
}
