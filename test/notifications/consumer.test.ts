import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import type { Offer } from '../../src/notifications/consumer-options.ts'
import {
  type AnyNotification,
  DEFAULT_NOTIFICATION_NAMES,
  type Notification,
  notificationMessage,
} from '../../src/notifications/notification.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { encodeEnvelope } from '../../src/rpc/envelope.ts'
import { deadLetterQueue } from '../../src/rpc/names.ts'
import type { Delivery, Transport } from '../../src/rpc/transport.ts'
import { silent, type TestBus, transports } from '../support/transports.ts'

const payload = {
  'nova_object.name': 'InstanceActionPayload',
  'nova_object.namespace': 'nova',
  'nova_object.version': '1.9',
  'nova_object.data': { uuid: 'u' },
}

function anEvent(event_type: string) {
  return {
    event_type,
    priority: 'INFO' as const,
    publisher_id: 'nova-compute:node1',
    context: { request_id: 'req-1' },
    payload,
    orderingKey: 'u',
    at: new Date(),
  }
}

/** The deliveries that are given back through this transport from now on. */
function returnsThrough(transport: Transport): ReadonlySet<Delivery> {
  const returned = new Set<Delivery>()
  const listen = transport.listen.bind(transport)
  const watched = (delivery: Delivery): Delivery => ({
    body: delivery.body,
    contentType: delivery.contentType,
    headers: delivery.headers,
    fanout: delivery.fanout,
    userId: delivery.userId,
    deliveryCount: delivery.deliveryCount,
    isCounted: delivery.isCounted,
    queue: delivery.queue,
    sentAtMs: delivery.sentAtMs,
    expirationMs: delivery.expirationMs,
    ack: () => delivery.ack(),
    requeue: () => {
      returned.add(delivery)
      delivery.requeue()
    },
  })
  transport.listen = (source, handler, options) => listen(source, (delivery) => handler(watched(delivery)), options)
  return returned
}

describe.each(transports)('notification consumer on $name', ({ open }) => {
  function namesOf({ names }: TestBus) {
    return { exchange: `${names.exchange}-nova`, topic: `${names.topicPrefix}notifications` }
  }

  async function notify(transport: Transport, bus: TestBus, event_type: string): Promise<void> {
    const message = notificationMessage(namesOf(bus), anEvent(event_type))
    await transport.publish(message.to, message)
  }

  /** The reasons of what is put aside, as it is. */
  async function deadLetters({ names }: TestBus, transport: Transport): Promise<readonly unknown[]> {
    const reasons: unknown[] = []
    const keep = ({ headers }: Delivery) => void reasons.push(headers['x-sevbus-error'])
    await transport.listen({ kind: 'queue', queue: deadLetterQueue(names) }, keep, { prefetch: 0 })
    return reasons
  }

  async function consumer(
    bus: TestBus,
    onNotification: (n: Notification, offer: Offer) => Promise<void>,
    changes: { pool?: string; tap?: boolean; maxTries?: number; allowedSenders?: readonly string[] } = {},
  ) {
    const transport = await bus.connect()
    const started = new NotificationConsumer({
      transport,
      logger: silent,
      names: namesOf(bus),
      busNames: bus.names,
      onNotification,
      retryDelayMs: 1,
      ...changes,
    })
    await started.start()
    return started
  }

  it('hands over what allowed users have sent, and puts aside what anyone else says', async () => {
    await using bus = await open()
    const handled: string[] = []
    const started = await consumer(bus, async ({ event_type }) => void handled.push(event_type), {
      allowedSenders: [bus.userId],
    })
    const reasons = await deadLetters(bus, await bus.connect())

    await notify(await bus.connectUnnamed(), bus, 'forged')
    await notify(await bus.connect(), bus, 'true')

    await vi.waitFor(() => expect([handled, reasons.length]).toEqual([['true'], 1]))
    expect(reasons).toEqual([expect.stringContaining('does not say which user sent it')])
    await started.close()
  })

  it('hands over what was sent before it came, in order', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    for (const event of ['a.start', 'a.end', 'b.start']) await notify(transport, bus, event)

    const seen: string[] = []
    const billing = await consumer(bus, async ({ event_type }) => void seen.push(event_type))

    await vi.waitFor(() => expect(seen).toEqual(['a.start', 'a.end', 'b.start']))
    await billing.close()
  })

  it('hands over two that a sender has given one id, and each of them once', async () => {
    await using bus = await open()
    const sender = await bus.connect()
    const told = (uuid: string) => ({
      ...{ message_id: 'one', publisher_id: 'nova-compute:node1', event_type: 'instance.delete.end', priority: 'INFO' },
      ...{ timestamp: '', payload: { ...payload, 'nova_object.data': { uuid } } },
    })
    const to = { kind: 'notification', ...namesOf(bus), priority: 'info' } as const
    const heard: unknown[] = []
    const started = await consumer(bus, async ({ payload }) => {
      heard.push((payload['nova_object.data'] as { readonly uuid?: unknown }).uuid)
    })

    for (const uuid of ['a', 'b', 'a', 'b', 'c'])
      await sender.publish(to, { body: encodeEnvelope(told(uuid)), mandatory: false })

    await vi.waitFor(() => expect(heard).toEqual(['a', 'b', 'c']), { timeout: 20_000 })
    await started.close()
  })

  it('offers a notification again until it is handled, and those behind it afterwards', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const letters = await deadLetters(bus, transport)
    let tries = 0
    const seen: string[] = []
    const billing = await consumer(bus, async ({ event_type }) => {
      tries += 1
      if (tries < 30) throw new Error('the ledger is locked')
      seen.push(event_type)
    })

    for (const event of ['instance.create.end', 'instance.delete.end']) await notify(transport, bus, event)

    await vi.waitFor(() => expect(seen).toEqual(['instance.create.end', 'instance.delete.end']), { timeout: 10_000 })
    expect([tries, letters]).toEqual([31, []])
    await billing.close()
  })

  it('puts a notification aside after as many tries as its user has set', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const letters = await deadLetters(bus, transport)
    const tries: string[] = []
    const billing = await consumer(
      bus,
      async ({ event_type }) => {
        tries.push(event_type)
        if (event_type === 'instance.create.end') throw new Error('never heard of it')
      },
      { maxTries: 3 },
    )

    for (const event of ['instance.create.end', 'instance.delete.end']) await notify(transport, bus, event)

    await vi.waitFor(() => expect(letters).toEqual(['Error: never heard of it']))
    await vi.waitFor(() => expect(tries).toEqual([...Array(3).fill('instance.create.end'), 'instance.delete.end']))
    await billing.close()
  })

  it('leaves to the next consumer what it did not finish', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const first = await consumer(bus, () => Promise.reject(new Error('the disk is full')))
    await notify(transport, bus, 'instance.create.end')
    await first.close()

    const seen: string[] = []
    const second = await consumer(bus, async ({ event_type }) => void seen.push(event_type))

    await vi.waitFor(() => expect(seen).toEqual(['instance.create.end']))
    await second.close()
  })

  it('gives back what its handler wants requeued, for whoever is next', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const tries: string[] = []
    // Not before somebody is next: what was given back 15 times stays with whom it was given to.
    let nextIsThere = () => {}
    const next = new Promise<void>((resolve) => {
      nextIsThere = resolve
    })
    const first = await consumer(bus, async ({ event_type }, offer) => {
      tries.push(`first ${event_type}`)
      await next
      offer.requeue()
    })
    await notify(transport, bus, 'instance.create.end')
    await vi.waitFor(() => expect(tries).toEqual(['first instance.create.end']))
    const second = await consumer(bus, async ({ event_type }) => void tries.push(`second ${event_type}`))
    nextIsThere()

    await vi.waitFor(() => expect(tries).toContain('second instance.create.end'))
    await Promise.all([first.close(), second.close()])
  })

  it('keeps what was given back 15 times, because a broker may drop it, and offers it until it is handled', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const returned = returnsThrough(transport)
    let tries = 0
    const billing = new NotificationConsumer({
      ...{ transport, logger: silent, names: namesOf(bus), busNames: bus.names, retryDelayMs: 1 },
      onNotification: async (_, offer) => {
        tries += 1
        if (tries < 30) offer.requeue()
      },
    })
    await billing.start()

    await notify(await bus.connect(), bus, 'instance.create.end')

    await vi.waitFor(() => expect(tries).toBe(30), { timeout: 20_000 })
    expect(returned.size).toBe(15)
    await billing.close()
  })

  describe('by batches', () => {
    async function batches(bus: TestBus, onBatch: (batch: readonly Notification[]) => Promise<void>, more = {}) {
      const options = {
        transport: await bus.connect(),
        logger: silent,
        names: namesOf(bus),
        busNames: bus.names,
        ...more,
      }
      const started = new NotificationConsumer({ ...options, onBatch, batchSize: 3, retryDelayMs: 1 })
      await started.start()
      return started
    }
    const eventsOf = (batch: readonly Notification[]) => batch.map(({ event_type }) => event_type)
    const whole = ['a', 'b', 'c']

    it('calls once for each full one, and for the rest when the time is over', async () => {
      await using bus = await open()
      const transport = await bus.connect()
      for (const event of [...whole, 'd', 'e']) await notify(transport, bus, event)

      const seen: unknown[] = []
      const billing = await batches(bus, async (batch) => void seen.push(eventsOf(batch)), { batchTimeoutMs: 300 })

      await vi.waitFor(() =>
        expect(seen).toEqual([
          ['a', 'b', 'c'],
          ['d', 'e'],
        ]),
      )
      await billing.close()
    })

    it('offers a whole one again when it fails, and leaves it whole to the next consumer', async () => {
      await using bus = await open()
      const transport = await bus.connect()
      const seen: unknown[] = []
      const first = await batches(bus, async (batch) => {
        seen.push(eventsOf(batch))
        throw new Error('the ledger is locked')
      })
      for (const event of whole) await notify(transport, bus, event)
      await vi.waitFor(() => expect(seen.slice(0, 2)).toEqual([whole, whole]))
      await first.close()

      const left: unknown[] = []
      const second = await batches(bus, async (batch) => void left.push(eventsOf(batch)))

      await vi.waitFor(() => expect(left).toEqual([whole]))
      await second.close()
    })

    it('puts aside only what is bad by itself, after as many tries as its user has set', async () => {
      await using bus = await open()
      const transport = await bus.connect()
      const letters = await deadLetters(bus, transport)
      const stored: unknown[] = []
      const billing = await batches(
        bus,
        async (batch) => {
          if (eventsOf(batch).includes('b')) throw new Error('never heard of it')
          stored.push(...eventsOf(batch))
        },
        { maxTries: 2 },
      )

      for (const event of whole) await notify(transport, bus, event)

      await vi.waitFor(() => expect([stored, letters]).toEqual([['a', 'c'], ['Error: never heard of it']]))
      await billing.close()
    })
  })

  it('reads any payload, and notifications that leave things out, where its user wants that', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const seen: AnyNotification[] = []
    const options = { transport: await bus.connect(), logger: silent, names: namesOf(bus), busNames: bus.names }
    const priorities = ['sample'] as const
    const anyone = new NotificationConsumer({
      ...options,
      priorities,
      payload: 'any',
      onNotification: async (notification) => void seen.push(notification),
    })
    await anyone.start()
    const to = { kind: 'notification', ...namesOf(bus), priority: 'sample' } as const

    await transport.publish(to, { body: encodeEnvelope({ payload: [1, 'two'], _context_x: null }), mandatory: false })

    await vi.waitFor(() =>
      expect(seen).toEqual([
        {
          message_id: null,
          publisher_id: null,
          event_type: null,
          priority: null,
          timestamp: null,
          payload: [1, 'two'],
          _context_x: null,
        },
      ]),
    )
    await anyone.close()
  })

  it('looks on without taking anything from the others', async () => {
    await using bus = await open()
    const seen = { billing: [] as string[], tap: [] as string[] }
    const billing = await consumer(bus, async ({ event_type }) => void seen.billing.push(event_type))
    const tap = await consumer(bus, async ({ event_type }) => void seen.tap.push(event_type), { tap: true })

    await notify(await bus.connect(), bus, 'instance.create.end')

    await vi.waitFor(() => expect(seen).toEqual({ billing: ['instance.create.end'], tap: ['instance.create.end'] }))
    await Promise.all([billing.close(), tap.close()])
  })

  it('puts aside what is no notification, and goes on with the next', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const letters = await deadLetters(bus, transport)
    const seen: string[] = []
    const billing = await consumer(bus, async ({ event_type }) => void seen.push(event_type))
    const to = { kind: 'notification', ...namesOf(bus), priority: 'info' } as const

    await transport.publish(to, { body: 'not json', mandatory: false })
    await transport.publish(to, { body: '{"event_type": 1}', mandatory: false })
    await notify(transport, bus, 'instance.create.end')

    await vi.waitFor(() => expect(seen).toEqual(['instance.create.end']))
    await vi.waitFor(() => expect(letters).toHaveLength(2))
    await billing.close()
  })
})

it('a notification consumer pauses longer and longer between two tries, up to 30 seconds, and not at its end', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const transport = new MemoryBus().connect()
  const tries: number[] = []
  const onNotification = async () => {
    tries.push(Math.round(performance.now() / 1000))
    throw new Error('the ledger is locked')
  }
  const billing = new NotificationConsumer({ transport, logger: silent, onNotification, retryDelayMs: 12_000 })
  await billing.start()
  const started = Math.round(performance.now() / 1000)

  const { to, ...message } = notificationMessage(DEFAULT_NOTIFICATION_NAMES, anEvent('instance.create.end'))
  await transport.publish(to, message)
  for (let second = 0; second < 100; second++) await vi.advanceTimersByTimeAsync(1000)
  await billing.close()

  expect(tries.map((at) => at - started)).toEqual([0, 12, 36, 66, 96])
})
