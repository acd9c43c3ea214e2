import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UnserializableValue } from '../../src/errors.ts'
import { consumeNotifications } from '../../src/notification-consumer.ts'
import {
  type AnyNotification,
  NOTIFICATION_PRIORITIES,
  type Notification,
  type NotificationPriority,
  notificationMessage,
} from '../../src/notifications/notification.ts'
import { deadLetterQueue } from '../../src/rpc/names.ts'
import type { Delivery, Transport } from '../../src/rpc/transport.ts'
import { eventually, OsloBus, TOPOLOGIES } from './oslo-bus.ts'
import { canRunPeers, PythonPeer } from './python-peer.ts'

const versioned = {
  'nova_object.name': 'InstanceActionPayload',
  'nova_object.namespace': 'nova',
  'nova_object.version': '1.9',
  'nova_object.data': { uuid: 'u', nothing: null, text: 'größe ☃' },
}

describe.runIf(canRunPeers())('notifications', () => {
  let notifier: PythonPeer
  let listener: PythonPeer
  beforeAll(async () => {
    ;[notifier, listener] = await Promise.all([PythonPeer.start('notifier.py'), PythonPeer.start('listener.py')])
  })
  afterAll(() => Promise.all([notifier.end(), listener.end()]))

  describe.concurrent.each(TOPOLOGIES)('over topology $topology', (place) => {
    const letters: Delivery[] = []
    let bus: OsloBus
    let transport: Transport
    beforeAll(async () => {
      bus = new OsloBus(place)
      transport = await bus.connect()
      const source = { kind: 'queue', queue: deadLetterQueue(bus.names) } as const
      await transport.listen(source, (letter) => letters.push(letter), { prefetch: 0 })
    })
    afterAll(async () => {
      await listener.do('stop', { exchange: bus.names.exchange })
      await bus[Symbol.asyncDispose]()
    })

    /** No two tests share a queue. */
    const freshTopic = () => `${bus.names.exchange}-${randomBytes(4).toString('hex')}`

    /** By Python's notifier. */
    function notify(topic: string, facts: object, priority: NotificationPriority = 'info'): Promise<unknown> {
      bus.peerNotifies(topic, [priority])
      const { exchange } = bus.names
      return notifier.do('notify', { url: bus.url(), exchange, topic, priority, event_type: 'a.b', ...facts })
    }

    /** By ours. */
    async function send(topic: string, event_type: string, priority: NotificationPriority, payload: object) {
      const message = notificationMessage(
        { exchange: bus.names.exchange, topic },
        {
          event_type,
          priority: priority.toUpperCase() as Uppercase<NotificationPriority>,
          publisher_id: 'nova-compute:node1',
          context: { request_id: 'req-1', user_id: 'u-1', auth_token: 's3cret' },
          payload,
          orderingKey: 'u',
          at: new Date('2026-11-23T03:13:11.563Z'),
        },
      )
      await transport.publish(message.to, message)
    }

    /** Python's listener. @returns what it told so far, once that fits */
    async function listen(topic: string, name: string, facts: { pool?: string; batch?: object } = {}) {
      bus.peerNotifies(topic, NOTIFICATION_PRIORITIES, facts.pool)
      const { exchange } = bus.names
      const priorities = NOTIFICATION_PRIORITIES
      await listener.do('start', {
        url: bus.url(),
        exchange,
        topic,
        listener: `${topic} ${name}`,
        priorities,
        ...facts,
      })
      return <T>(look: (told: readonly Record<string, unknown>[]) => T) =>
        listener.eventually((events) => look(events.filter((event) => event.listener === `${topic} ${name}`)))
    }

    describe('from Python to us', () => {
      it('arrive at every priority, whatever they are about', async () => {
        const topic = freshTopic()
        const seen: AnyNotification[] = []
        const payload = { id: 1, nested: { list: [null, 2.5, 'größe ☃'] } }
        const context = { request_id: 'req-1', user_id: 'u-1', auth_token: 's3cret' }

        for (const priority of NOTIFICATION_PRIORITIES) await notify(topic, { payload, context }, priority)
        await bus.consume({
          topic,
          payload: 'any',
          priorities: NOTIFICATION_PRIORITIES,
          onNotification: async (notification) => void seen.push(notification),
        })

        const expected = NOTIFICATION_PRIORITIES.map((priority) => ({
          message_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
          publisher_id: 'compute.peer',
          event_type: 'a.b',
          priority: priority.toUpperCase(),
          payload,
          timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?$/),
          _unique_id: expect.stringMatching(/^[0-9a-f]{32}$/),
          _context_request_id: 'req-1',
          _context_user_id: 'u-1',
        }))
        await eventually(() => {
          expect(seen).toHaveLength(expected.length)
          for (const each of expected) expect(seen).toContainEqual(each)
        })
      })

      it('are taken by default where they are versioned, and parked where they are not', async () => {
        const topic = freshTopic()
        const seen: Notification[] = []
        await bus.consume({ topic, onNotification: async (notification) => void seen.push(notification) })

        await notify(topic, { payload: { 'not versioned': topic } }, 'error')
        await notify(topic, { payload: versioned })

        await eventually(() => expect(seen.map(({ payload }) => payload)).toEqual([versioned]))
        await eventually(() => expect(reasonsFor(letters, topic)).toEqual(['INVALID_MESSAGE']))
      })

      it.each([
        ['without envelope', () => ({ driver: 'messaging' })],
        ['compressed', () => ({ url: bus.url('kombu_compression=gzip') })],
      ])('are read %s', async (_, facts) => {
        const topic = freshTopic()
        const seen: unknown[] = []
        const at = 'datetime.datetime(2026, 11, 23, 3, 13, 11, 563638)'

        await notify(topic, { payload_python: `{'at': ${at}, 'text': 'x' * 5000}`, ...facts() })
        await bus.consume({ topic, payload: 'any', onNotification: async ({ payload }) => void seen.push(payload) })

        const expected = { at: '2026-11-23T03:13:11.563638', text: 'x'.repeat(5000) }
        await eventually(() => expect(seen).toEqual([expected]))
      })

      it.each(["float('nan')", '2**60'])('are parked with a number that would be changed in silence: %s', async (n) => {
        const topic = freshTopic()
        const seen: unknown[] = []
        await bus.consume({ topic, payload: 'any', onNotification: async ({ payload }) => void seen.push(payload) })

        await notify(topic, { payload_python: `{'topic': '${topic}', 'n': ${n}}` })
        await notify(topic, { payload: 'next' })

        await eventually(() => expect(seen).toEqual(['next']))
        await eventually(() => expect(reasonsFor(letters, topic)).toEqual(['INVALID_MESSAGE']))
      })

      it('are copied to each pool, and shared within it', async () => {
        const topic = freshTopic()
        const seen = { billing: [] as unknown[], audit: [] as unknown[] }
        const pools = ['billing', 'billing', 'audit'] as const
        for (const pool of pools) {
          const onNotification = async ({ payload }: AnyNotification) => void seen[pool].push(payload)
          await bus.consume({ topic, payload: 'any', pool: `${topic}-${pool}`, onNotification })
        }
        const toPython = await listen(topic, 'audit too', { pool: `${topic}-python` })

        for (const payload of [1, 2, 3, 4]) await notify(topic, { payload })

        await eventually(() => expect(seen.billing.toSorted()).toEqual([1, 2, 3, 4]))
        await eventually(() => expect(seen.audit).toEqual([1, 2, 3, 4]))
        await toPython((told) => expect(told.map(({ payload }) => payload)).toEqual([1, 2, 3, 4]))
      })

      it('are handled by batches', async () => {
        const topic = freshTopic()
        const batches: unknown[] = []
        for (const payload of [1, 2, 3, 4, 5]) await notify(topic, { payload })

        // As billing would write it.
        await using _consuming = await consumeNotifications({
          url: bus.url(),
          topology: place.topology,
          exchange: bus.names.exchange,
          topic,
          payload: 'any',
          batchSize: 3,
          batchTimeoutMs: 500,
          onBatch: async (batch) => void batches.push(batch.map(({ payload }) => payload)),
        })

        await eventually(() =>
          expect(batches).toEqual([
            [1, 2, 3],
            [4, 5],
          ]),
        )
      })

      it('are left to a Python listener of the same queue where we ask for that', async () => {
        const topic = freshTopic()
        let offers = 0
        await bus.consume({
          topic,
          payload: 'any',
          onNotification: async (_, offer) => {
            offers += 1
            offer.requeue()
          },
        })
        await notify(topic, { payload: 'for you' })
        await eventually(() => expect(offers).toBeGreaterThan(0))

        const told = await listen(topic, 'second')

        await told((all) => expect(all.map(({ payload }) => payload)).toEqual(['for you']))
      })
    })

    describe('from us to Python', () => {
      it('arrive at every priority, with the context that may leave the house', async () => {
        const topic = freshTopic()
        for (const priority of NOTIFICATION_PRIORITIES) await send(topic, `on.${priority}`, priority, versioned)

        const told = await listen(topic, 'all')

        const expected = NOTIFICATION_PRIORITIES.map((priority) => ({
          event: 'notified',
          listener: `${topic} all`,
          priority,
          ctxt: expect.objectContaining({ request_id: 'req-1', user_id: 'u-1' }),
          publisher_id: 'nova-compute:node1',
          event_type: `on.${priority}`,
          payload: versioned,
          metadata: {
            message_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
            timestamp: '2026-11-23 03:13:11.563000',
          },
        }))
        await told((all) => {
          expect(all).toHaveLength(expected.length)
          for (const each of expected) expect(all).toContainEqual(each)
          expect(JSON.stringify(all)).not.toContain('s3cret')
        })
      })

      it('come again where Python asks for that, with the same message_id', async () => {
        const topic = freshTopic()
        await send(topic, 'a.b', 'info', { requeue: true })

        const told = await listen(topic, 'asking')

        await told((all) => {
          const ids = all.map(({ metadata }) => (metadata as { message_id: string }).message_id)
          expect(ids).toHaveLength(2)
          expect(new Set(ids).size).toBe(1)
        })
      })

      it('are copied to a pool of Python, beside its listeners without one', async () => {
        const topic = freshTopic()
        const inPool = await listen(topic, 'pooled', { pool: `${topic}-pool` })
        const outside = await listen(topic, 'default')

        for (const event of ['a', 'b', 'c']) await send(topic, event, 'warn', {})

        // Python's listener has a thread for each: they may overtake one another.
        const events = (all: readonly Record<string, unknown>[]) => all.map(({ event_type }) => event_type).toSorted()
        await inPool((all) => expect(events(all)).toEqual(['a', 'b', 'c']))
        await outside((all) => expect(events(all)).toEqual(['a', 'b', 'c']))
      })

      it('come to Python by batches', async () => {
        const topic = freshTopic()
        for (const event of ['a', 'b', 'c']) await send(topic, event, 'info', {})

        const told = await listen(topic, 'batches', { batch: { size: 3, timeout: 5 } })

        await told((all) => {
          const batches = all.map(({ messages }) =>
            (messages as { event_type: string }[]).map((each) => each.event_type),
          )
          expect(batches).toEqual([['a', 'b', 'c']])
        })
      })

      it.each([Number.NaN, 2 ** 60])('are not sent with a number that would be changed in silence: %s', async (n) => {
        await expect(send(freshTopic(), 'a.b', 'info', { n })).rejects.toThrow(UnserializableValue)
      })
    })
  })
})

/** Why messages that speak of this were parked. */
function reasonsFor(letters: readonly Delivery[], text: string): readonly unknown[] {
  return letters.filter(({ body }) => body.includes(text)).map(({ headers }) => headers['x-sevbus-error-code'])
}
