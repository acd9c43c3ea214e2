import { afterAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { MessagingTimeout, TransportUnavailable } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { type ClientOf, call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SelfCheck } from '../../src/rpc/self-check.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery, Transport } from '../../src/rpc/transport.ts'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import { notRun } from '../servers/not-run.ts'
import { onChannel } from '../support/raw-channel.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { freshNames, MadeOnBroker, silent } from '../support/transports.ts'

const Text = z.object({ text: z.string() })
const NoteApi = defineApi({
  service: 'note',
  version: '1.0',
  methods: {
    note: cast({ wire: 'note', since: '1.0', summary: 'Keeps it.', input: Text, output: z.void() }),
    say: call({ wire: 'say', since: '1.0', summary: 'Gives it back.', input: Text, output: Text }),
  },
})
type Notes = ClientOf<typeof NoteApi>
const context = newRequestContext()
const PATIENCE = { timeout: 20_000, interval: 20 }

describe('a message that RabbitMQ does not take', () => {
  it.each(['classic', 'quorum'])('is refused with a typed error when its %s queue is full (nack)', async (type) => {
    const url = inject('amqpUrl')
    const queue = `${freshNames().topicPrefix}full`
    const limit = { 'x-queue-type': type, 'x-max-length': 1, 'x-overflow': 'reject-publish' }
    await onChannel(url, (channel) => channel.assertQueue(queue, { durable: true, arguments: limit }))
    onTestFinished(() => onChannel(url, async (channel) => void (await channel.deleteQueue(queue))))
    const transport = new RabbitTransport({ url, logger: silent })
    onTestFinished(() => transport.close())
    const publish = () => transport.publish({ kind: 'queue', queue }, { body: '{}', mandatory: true })

    // A quorum queue takes a few more, for it learns of its length late.
    const error = await vi.waitFor(async () => {
      const thrown = await publish().then(
        () => undefined,
        (error: unknown) => error,
      )
      if (thrown === undefined) throw new Error('it still takes messages')
      return thrown
    }, PATIENCE)

    expect(error).toBeInstanceOf(TransportUnavailable)
    expect(error).toMatchObject({
      message: `the broker refused a message to ${queue}: its queue is full or down`,
      details: { destination: queue },
    })
    await onChannel(url, (channel) => channel.purgeQueue(queue))
    await vi.waitFor(publish, PATIENCE)
  })

  it.each([Number.POSITIVE_INFINITY, 2 ** 40, Number.NaN])(
    'is not one that may wait %d ms, though AMQP cannot say that',
    async (ms) => {
      const url = inject('amqpUrl')
      const names = freshNames()
      const made = new MadeOnBroker(url)
      onTestFinished(() => made.remove())
      const transport = made.record(new RabbitTransport({ url, logger: silent }))
      onTestFinished(() => transport.close())
      const { server, said } = aServer(transport, names)
      await server.start()
      const rpc = new RpcClient({ transport, logger: silent, names })
      const { say, note } = rpc.of(NoteApi)

      await note(context, { text: 'told' }, { expirationMs: ms })
      const isTime = !Number.isNaN(ms)
      const answer = await say(context, { text: 'asked' }, isTime ? { timeoutMs: ms } : {})

      expect(answer).toEqual({ text: 'asked' })
      await vi.waitFor(() => expect(said.toSorted()).toEqual(['asked', 'told']), PATIENCE)
      await rpc.close()
      await server.drain(1_000)
    },
  )

  it('fails its call at once, not after the timeout, when the connection is lost before the confirm', async () => {
    const url = inject('amqpUrl')
    const names = freshNames()
    const made = new MadeOnBroker(url)
    onTestFinished(() => made.remove())
    const proxy = await TcpProxy.to(url)
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    const connect = (at: string) => {
      const transport = made.record(new RabbitTransport({ url: at, logger: silent }))
      onTestFinished(() => transport.close())
      return transport
    }
    const { server, said } = aServer(connect(url), names)
    await server.start()
    const rpc = new RpcClient({ transport: connect(proxy.through(url)), logger: silent, names })
    const { say, note } = rpc.of(NoteApi)
    await say(context, { text: 'well' })
    proxy.silence()

    const outcomes = Promise.allSettled([say(context, { text: 'asked' }), note(context, { text: 'told' })])
    await vi.waitFor(() => expect(said.toSorted()).toEqual(['asked', 'told', 'well']), PATIENCE)
    proxy.goDown()

    const unconfirmed = { code: 'TRANSPORT_UNAVAILABLE', message: expect.stringContaining('it may have arrived') }
    expect(await outcomes).toMatchObject([
      { status: 'rejected', reason: unconfirmed },
      { status: 'rejected', reason: unconfirmed },
    ])
    proxy.restore()
    await rpc.close()
    await server.drain(0)
  })
})

function aServer(transport: Transport, names = freshNames()) {
  const said: string[] = []
  const endpoint = {
    note: async ({ text }: { text: string }) => void said.push(text),
    say: async ({ text }: { text: string }) => {
      said.push(text)
      return { text }
    },
  }
  const bindings = [bind(NoteApi, endpoint)] as const
  const server = new RpcServer({ transport, logger: silent, names, server: 'node1', bindings: [...bindings] })
  return { server, said, names }
}

const started = await startInstalledRabbitMq()

if (started === undefined) {
  notRun({
    name: 'a broker that takes no messages for a while',
    why: 'RabbitMQ is not installed, and a container cannot be told so here',
    how: 'apt-get install rabbitmq-server',
  })
} else {
  const broker = started
  describe('a broker that is short of memory', () => {
    afterAll(() => broker.close())
    /** A client and a server, each a process of its own; they have spoken already. */
    async function openNotes() {
      const connect = () => {
        const transport = new RabbitTransport({ url: broker.url, logger: silent })
        onTestFinished(() => transport.close())
        return transport
      }
      const [asking, serving] = [connect(), connect()]
      const { server, said, names } = aServer(serving)
      await server.start()
      const rpc = new RpcClient({ transport: asking, logger: silent, names })
      onTestFinished(async () => {
        await recover()
        await rpc.close()
        await server.drain(0)
      })
      const client = rpc.of(NoteApi)
      await client.say(context, { text: 'before' })
      return { connect, asking, serving, server, names, client, said }
    }
    const starve = () => broker.control('set_vm_memory_high_watermark', '0.0000001')
    const recover = () => broker.control('set_vm_memory_high_watermark', '0.6')
    /** The broker says so only to those who send, and what it took before it knew itself is not told: so more follows. */
    const untilBlocked = async (client: Notes, asking: RabbitTransport) => {
      const first = client.note(context, { text: 'first' })
      const more = { kind: 'queue', queue: 'nobodys' } as const
      await vi.waitFor(() => {
        asking.publish(more, { body: '', mandatory: false }).catch(() => undefined)
        expect(asking.blocked).toBe('low on memory')
      }, PATIENCE)
      return { first }
    }

    it('lets messages wait until their deadline, says then what they waited for, and never sends them', async () => {
      const { client, asking, said } = await openNotes()
      await starve()
      const { first } = await untilBlocked(client, asking)

      const late = await Promise.allSettled([
        client.note(context, { text: 'late' }, { timeoutMs: 300 }),
        client.say(context, { text: 'late' }, { timeoutMs: 300 }),
      ])

      for (const outcome of late) {
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: {
            code: MessagingTimeout.code,
            message: expect.stringContaining('300 ms: the broker takes no messages now (low on memory)'),
          },
        })
      }
      const patient = client.note(context, { text: 'patient' })
      await recover()
      await Promise.all([first, patient])
      await vi.waitFor(() => expect(said).toEqual(['before', 'first', 'patient']), PATIENCE)
      expect(asking.blocked).toBeUndefined()
    })

    it('still takes acknowledgements and answers about its queues', async () => {
      const { client, asking, connect, names } = await openNotes()
      const queue = `${names.topicPrefix}held`
      const letters = { kind: 'queue', queue, durable: true } as const
      for (const body of ['1', '2', '3']) await asking.publish(letters, { body, mandatory: true })
      const held: Delivery[] = []
      const consuming = connect()
      const listener = await consuming.listen({ kind: 'queue', queue }, (letter) => held.push(letter), { prefetch: 5 })
      await vi.waitFor(() => expect(held).toHaveLength(3), PATIENCE)
      await starve()
      const { first } = await untilBlocked(client, asking)

      for (const delivery of held.slice(0, 2)) delivery.ack()
      await listener.close()

      await vi.waitFor(async () => expect(await asking.inspect(queue)).toEqual({ messages: 1, consumers: 0 }), PATIENCE)
      await recover()
      await first
    })

    it('lets a consumer start and empty a queue, and a server declare and listen', async () => {
      const { client, asking, connect, names } = await openNotes()
      const queue = `${names.topicPrefix}waiting`
      const letters = { kind: 'queue', queue, durable: true } as const
      for (const body of ['1', '2']) await asking.publish(letters, { body, mandatory: true })
      await starve()
      const { first } = await untilBlocked(client, asking)
      const fresh = connect()

      await fresh.connect(AbortSignal.timeout(PATIENCE.timeout))

      expect(fresh.blocked).toBe('low on memory')
      const read: string[] = []
      await fresh.listen(
        { kind: 'queue', queue },
        (letter) => {
          read.push(letter.body.toString())
          letter.ack()
        },
        { prefetch: 1 },
      )
      await vi.waitFor(() => expect(read).toEqual(['1', '2']), PATIENCE)
      const { server } = aServer(fresh)
      await server.start()
      expect(fresh.blocked).toBe('low on memory')
      await recover()
      await first
      await server.drain(0)
    })

    it('is connected to as soon as it takes messages, by who waited to send one', async () => {
      const { client, asking, connect, names } = await openNotes()
      await starve()
      const { first } = await untilBlocked(client, asking)
      const fresh = connect()
      await fresh.connect(AbortSignal.timeout(PATIENCE.timeout))
      const rpc = new RpcClient({ transport: fresh, logger: silent, names })
      const { say } = rpc.of(NoteApi)

      await expect(say(context, { text: 'late' }, { timeoutMs: 300 })).rejects.toThrow(
        'the broker takes no messages now (low on memory)',
      )
      const answer = say(context, { text: 'patient' })
      await recover()

      expect(await answer).toEqual({ text: 'patient' })
      await first
      await rpc.close()
    })

    it('is no deafness to a worker that checks itself', async () => {
      const { client, asking, serving, server, names } = await openNotes()
      const repairs = vi.spyOn(serving, 'reconnect')
      const looks = vi.spyOn(serving, 'check')
      const own = new RpcClient({ transport: serving, logger: silent, names })
      const options = { transport: serving, client: own, server, logger: silent, intervalMs: 20, timeoutMs: 500 }
      const selfCheck = new SelfCheck(options)
      await starve()
      const { first } = await untilBlocked(client, asking)

      selfCheck.start()
      await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(5), PATIENCE)

      expect(repairs.mock.calls).toEqual([])
      await recover()
      await first
      const before = looks.mock.calls.length
      await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(before + 2), PATIENCE)
      await selfCheck.close()
      await own.close()
      expect(repairs.mock.calls).toEqual([])
    })
  })
}
