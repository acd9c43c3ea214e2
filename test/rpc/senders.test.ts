import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { MessagingTimeout, SenderNotAllowed } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery, Destination, Source, Transport } from '../../src/rpc/transport.ts'
import { transports } from '../support/transports.ts'

const Text = z.object({ text: z.string() })
const SafeApi = defineApi({
  service: 'safe',
  version: '1.0',
  methods: {
    open: call({ wire: 'open', since: '1.0', summary: 'Opens it.', input: Text, output: Text }),
    lock: cast({ wire: 'lock', since: '1.0', summary: 'Locks it.', input: Text, output: z.void() }),
  },
})
const context = newRequestContext()

describe.each(transports)('senders over $name', ({ open }) => {
  async function openSafe() {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const done: string[] = []
    const warnings: Record<string, unknown>[] = []
    const logger = pino({ level: 'warn' }, { write: (line) => warnings.push(JSON.parse(line)) })

    /** Other users than our own are whoever does not say who he is: the test has only one to log in with. */
    async function serve(allowedSenders: readonly string[], transport?: Transport) {
      const server = new RpcServer({
        transport: transport ?? (await bus.connectUnnamed()),
        logger,
        server: 'node1',
        names: bus.names,
        retryDelayMs: 1,
        allowedSenders,
        bindings: [
          bind(SafeApi, {
            open: async ({ text }) => {
              done.push(text)
              return { text }
            },
            lock: async ({ text }) => void done.push(text),
          }),
        ],
      })
      await server.start()
    }

    function clientOf(transport: Transport, allowedSenders: readonly string[] = []) {
      const rpc = new RpcClient({ transport, logger, names: bus.names, timeoutMs: 10_000, allowedSenders })
      onTestFinished(() => rpc.close())
      return rpc.of(SafeApi)
    }

    const letters: Delivery[] = []
    const keeper = await bus.connect()
    const queue = deadLetterQueue(bus.names)
    await keeper.listen({ kind: 'queue', queue }, (letter) => letters.push(letter), { prefetch: 0 })
    const topic = topicOf(bus.names, SafeApi)
    return {
      bus,
      serve,
      clientOf,
      done,
      warnings,
      letters,
      anyServer: { kind: 'topic', exchange: bus.names.exchange, topic } as const,
      parked: () => letters.map(({ headers }) => [headers['x-sevbus-error-code'], headers['x-sevbus-user-id']]),
    }
  }

  it('are told with every message, of whatever kind, as the broker has checked them', async () => {
    const { bus, anyServer, letters } = await openSafe()
    const { exchange, topic } = anyServer
    const transport = await bus.connect()
    const received: Delivery[] = []
    const keep = (delivery: Delivery) => void received.push(delivery)
    const sources: readonly Source[] = [
      { kind: 'server', exchange, topic, server: 'node1' },
      { kind: 'reply', queue: `${topic}-reply` },
      { kind: 'notifications', exchange, topics: [topic], priorities: ['info'] },
    ]
    for (const source of sources) await transport.listen(source, keep, { prefetch: 0 })
    const destinations: readonly Destination[] = [
      anyServer,
      { kind: 'server', exchange, topic, server: 'node1' },
      { kind: 'fanout', topic },
      { kind: 'queue', queue: `${topic}-reply` },
      { kind: 'notification', exchange, topic, priority: 'info' },
      { kind: 'queue', queue: deadLetterQueue(bus.names), durable: true },
    ]

    for (const to of destinations) await transport.publish(to, { body: '1', mandatory: true })
    await vi.waitFor(() => expect(received.length + letters.length).toBe(destinations.length))
    await (await bus.connectUnnamed()).publish(anyServer, { body: '2', mandatory: true })
    await vi.waitFor(() => expect(received.length + letters.length).toBe(destinations.length + 1))

    expect(letters.map(({ userId }) => userId)).toEqual([bus.userId])
    expect(received.map(({ userId }) => userId)).toEqual([...Array(5).fill(bus.userId), undefined])
  })

  it('are served when they are among those allowed, or when anyone is', async () => {
    const { bus, serve, clientOf, done } = await openSafe()
    await serve(['somebody', bus.userId])
    const client = clientOf(await bus.connect())

    expect(await client.open(context, { text: '1' })).toEqual({ text: '1' })
    await client.lock(context, { text: '2' })

    await vi.waitFor(() => expect(done).toEqual(['1', '2']))
  })

  it('are refused with a typed error when they are not, nothing is done, and who it was is logged', async () => {
    const { bus, serve, clientOf, done, warnings } = await openSafe()
    await serve(['somebody'])

    const refused = clientOf(await bus.connect()).open(context, { text: '1' })

    await expect(refused).rejects.toThrow(SenderNotAllowed)
    await expect(refused).rejects.toMatchObject({ code: 'SENDER_NOT_ALLOWED', details: { user_id: bus.userId } })
    expect(done).toEqual([])
    expect(warnings).toMatchObject([
      { level: 40, what: 'open', user_id: bus.userId, code: 'SENDER_NOT_ALLOWED', msg: 'a message was refused' },
    ])
  })

  it('are refused when they do not say who they are', async () => {
    const { bus, serve, clientOf, done } = await openSafe()
    await serve([bus.userId])

    const refused = clientOf(await bus.connectUnnamed()).open(context, { text: '1' })

    await expect(refused).rejects.toMatchObject({ code: 'SENDER_NOT_ALLOWED', details: { user_id: null } })
    expect(done).toEqual([])
  })

  it('have casts and what is malformed parked, with their name, and fanouts dropped', async () => {
    const { bus, serve, clientOf, done, warnings, parked, anyServer } = await openSafe()
    await serve(['somebody'])
    const transport = await bus.connect()
    const client = clientOf(transport)

    await client.lock(context, { text: '1' })
    await client.lock(context, { text: '2' }, { fanout: true })
    await transport.publish(anyServer, { body: 'no JSON', mandatory: true })

    await vi.waitFor(() => expect(warnings).toHaveLength(5))
    expect(parked()).toEqual([
      ['SENDER_NOT_ALLOWED', bus.userId],
      ['SENDER_NOT_ALLOWED', bus.userId],
    ])
    expect(done).toEqual([])
  })

  it('cannot spoil a message by sending a copy of it first', async () => {
    const { bus, serve, done, anyServer, letters } = await openSafe()
    await serve([bus.userId])
    const draft = { method: 'lock', args: { text: '1' }, namespace: undefined, version: '1.0', context }
    const message = { body: encodeRequest(draft), mandatory: true }

    await (await bus.connectUnnamed()).publish(anyServer, message)
    await vi.waitFor(() => expect(letters).toHaveLength(1))
    await (await bus.connect()).publish(anyServer, message)

    await vi.waitFor(() => expect(done).toEqual(['1']))
  })

  it('of replies are checked, too: a forged one is dropped and logged, and the call goes on waiting', async () => {
    const { bus, serve, clientOf, done, warnings } = await openSafe()
    await serve([], await bus.connectUnnamed())
    const client = clientOf(await bus.connect(), [bus.userId])

    await expect(client.open(context, { text: '1' }, { timeoutMs: 500 })).rejects.toThrow(MessagingTimeout)

    expect(done).toEqual(['1'])
    expect(warnings).toMatchObject([{ level: 40, code: 'SENDER_NOT_ALLOWED', msg: 'a reply was refused' }])
  })

  it('of replies are served when they are among those allowed', async () => {
    const { bus, serve, clientOf } = await openSafe()
    await serve([], await bus.connect())
    const client = clientOf(await bus.connectUnnamed(), [bus.userId])

    expect(await client.open(context, { text: '1' })).toEqual({ text: '1' })
  })

  it('are always taken when they are ourselves: a worker sends messages to itself', async () => {
    const { bus, serve, clientOf } = await openSafe()
    await serve(['somebody'], await bus.connect())
    const client = clientOf(await bus.connect(), ['somebody'])

    expect(await client.open(context, { text: '1' })).toEqual({ text: '1' })
  })
})
