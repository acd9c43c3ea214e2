import { describe, expect, it, vi } from 'vitest'
import { NotificationConsumer } from '../../src/notifications/consumer.ts'
import { type Notification, notificationMessage } from '../../src/notifications/notification.ts'
import type { Transport } from '../../src/rpc/transport.ts'
import { silent, type TestBus, transports } from '../support/transports.ts'

const payload = {
  'nova_object.name': 'InstanceActionPayload',
  'nova_object.namespace': 'nova',
  'nova_object.version': '1.9',
  'nova_object.data': { uuid: 'u' },
}

describe.each(transports)('notification consumer on $name', ({ open }) => {
  function namesOf({ names }: TestBus) {
    return { exchange: `${names.exchange}-nova`, topic: `${names.topicPrefix}notifications` }
  }

  async function notify(transport: Transport, bus: TestBus, event_type: string): Promise<void> {
    const message = notificationMessage(namesOf(bus), {
      event_type,
      priority: 'INFO',
      publisher_id: 'nova-compute:node1',
      context: { request_id: 'req-1' },
      payload,
      orderingKey: 'u',
      at: new Date(),
    })
    await transport.publish(message.to, message)
  }

  async function consumer(
    bus: TestBus,
    onNotification: (n: Notification) => Promise<void>,
    changes: { pool?: string; tap?: boolean; maxTries?: number } = {},
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

  it('hands over what was sent before it came, in order', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    for (const event of ['a.start', 'a.end', 'b.start']) await notify(transport, bus, event)

    const seen: string[] = []
    const billing = await consumer(bus, async ({ event_type }) => void seen.push(event_type))

    await vi.waitFor(() => expect(seen).toEqual(['a.start', 'a.end', 'b.start']))
    await billing.close()
  })

  it('offers a notification again until it is handled', async () => {
    await using bus = await open()
    let tries = 0
    const billing = await consumer(bus, async () => {
      tries += 1
      if (tries < 3) throw new Error('the ledger is locked')
    })

    await notify(await bus.connect(), bus, 'instance.create.end')

    await vi.waitFor(() => expect(tries).toBe(3))
    await billing.close()
  })

  it('leaves to the next consumer what it did not finish', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const first = await consumer(bus, () => Promise.reject(new Error('the disk is full')), { maxTries: 1000 })
    await notify(transport, bus, 'instance.create.end')
    await first.close()

    const seen: string[] = []
    const second = await consumer(bus, async ({ event_type }) => void seen.push(event_type))

    await vi.waitFor(() => expect(seen).toEqual(['instance.create.end']))
    await second.close()
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

  it('goes on with the next after one that is no notification', async () => {
    await using bus = await open()
    const transport = await bus.connect()
    const seen: string[] = []
    const billing = await consumer(bus, async ({ event_type }) => void seen.push(event_type))
    const to = { kind: 'notification', ...namesOf(bus), priority: 'info' } as const

    await transport.publish(to, { body: 'not json', mandatory: false })
    await transport.publish(to, { body: '{"event_type": 1}', mandatory: false })
    await notify(transport, bus, 'instance.create.end')

    await vi.waitFor(() => expect(seen).toEqual(['instance.create.end']))
    await billing.close()
  })
})
