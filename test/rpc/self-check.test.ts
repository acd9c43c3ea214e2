import type { Channel } from 'amqplib'
import { type DestinationStream, type Logger, pino } from 'pino'
import { afterAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { RpcClient } from '../../src/rpc/client.ts'
import { cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import type { TopologyName } from '../../src/rpc/drivers/rabbit-topology.ts'
import { type BusNames, topicOf } from '../../src/rpc/names.ts'
import { pingApiOf } from '../../src/rpc/ping.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { SelfCheck } from '../../src/rpc/self-check.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Transport } from '../../src/rpc/transport.ts'
import { notRun } from '../servers/not-run.ts'
import { withoutCancels } from '../support/amqp-frames.ts'
import { ownBroker } from '../support/own-broker.ts'
import { addPoorUser } from '../support/poor-user.ts'
import { onChannel } from '../support/raw-channel.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { freshNames, MadeOnBroker, silent, transports } from '../support/transports.ts'

const WorkApi = defineApi({
  service: 'work',
  version: '1.0',
  methods: {
    do: cast({ wire: 'do', since: '1.0', summary: 'Does it.', input: z.object({ n: z.number() }), output: z.void() }),
  },
})
const context = newRequestContext()
const PATIENCE = { timeout: 20_000, interval: 20 }

/** With one second a busy machine is late three times in a row, which is deafness. */
const REPLY_MS = 3_000

/** A worker with two hands that checks itself many times a second, and a client that asks it for work. */
async function aWorker(transport: Transport, names: BusNames, asking: Transport, timeoutMs = REPLY_MS) {
  const said: string[] = []
  const reasons: string[] = []
  const logger = lines(said, reasons)
  const begun: number[] = []
  const done: number[] = []
  let finish: () => void = () => {}
  let gate = Promise.resolve()
  const endpoint = {
    do: async ({ n }: { n: number }) => {
      begun.push(n)
      await gate
      done.push(n)
    },
  }
  const bindings = [bind(WorkApi, endpoint)] as const
  const server = new RpcServer({
    transport,
    logger: silent,
    names,
    server: 'node1',
    bindings: [...bindings],
    concurrency: 2,
  })
  await server.start()
  const own = new RpcClient({ transport, logger: silent, names })
  const selfCheck = new SelfCheck({ transport, client: own, server, logger, intervalMs: 20, timeoutMs })
  const looks = vi.spyOn(transport, 'check')
  const rpc = new RpcClient({ transport: asking, logger: silent, names })
  onTestFinished(async () => {
    finish()
    await selfCheck.close()
    await server.drain(0)
    await Promise.all([own.close(), rpc.close()])
  })
  const client = rpc.of(WorkApi)
  return {
    said,
    server,
    /** Why it connected anew, or gave itself up. */
    reasons,
    begun,
    done,
    selfCheck,
    topic: topicOf(names, WorkApi),
    repairs: vi.spyOn(transport, 'reconnect'),
    ask: (n: number, options: { server?: string; timeoutMs?: number } = { server: 'node1' }) =>
      client.do(context, { n }, options),
    pingItself: () => own.of(pingApiOf('work')).ping(context, {}, { server: 'node1', timeoutMs: 5000 }),
    ping: () => rpc.of(pingApiOf('work')).ping(context, {}, { server: 'node1', timeoutMs: 5000 }),
    /** Work does not end until the returned function is called. */
    holdUp: () => {
      gate = new Promise((resolve) => {
        finish = resolve
      })
      return () => finish()
    },
    /** So many checks more have begun, and those before them ended. */
    async checksItself(times = 3) {
      const before = looks.mock.calls.length
      await vi.waitFor(() => expect(looks.mock.calls.length).toBeGreaterThan(before + times), PATIENCE)
    },
  }
}

function lines(said: string[], reasons: string[]): Logger {
  const stream: DestinationStream = {
    write: (line) => {
      const { msg, reason } = JSON.parse(line)
      // Where the machine is so busy that the first call over the new connection is late, too, it connects once more.
      if (msg === said.at(-1)) return
      said.push(msg)
      if (reason !== undefined) reasons.push(reason)
    },
  }
  return pino({ level: 'info' }, stream)
}

describe.each(transports)('a worker that checks itself over $name', ({ open }) => {
  async function openWorker(timeoutMs?: number) {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const worker = await aWorker(await bus.connect(), bus.names, await bus.connect(), timeoutMs)
    return { bus, ...worker }
  }

  it('says nothing and changes nothing while it hears', async () => {
    const { selfCheck, checksItself, ask, done, said, repairs } = await openWorker(10_000)

    selfCheck.start()
    await checksItself()
    await ask(1)
    await checksItself()

    await vi.waitFor(() => expect(done).toEqual([1]))
    expect({ said, repairs: repairs.mock.calls }).toEqual({ said: [], repairs: [] })
  })

  it('finds nothing wrong with a server that is paused', async () => {
    const { selfCheck, checksItself, server, said, repairs } = await openWorker(10_000)
    await server.pause()

    selfCheck.start()
    await checksItself()

    expect({ said, repairs: repairs.mock.calls }).toEqual({ said: [], repairs: [] })
  })

  it('answers a ping although all hands are busy', async () => {
    const { ask, ping, holdUp, done } = await openWorker()
    const letGo = holdUp()
    for (const n of [1, 2]) await ask(n, {})

    expect(await ping()).toBe('pong')

    letGo()
    await vi.waitFor(() => expect(done.toSorted()).toEqual([1, 2]))
  })

  it('does not take itself for deaf when its hands hold all that the broker gives, and more waits', async () => {
    const { selfCheck, checksItself, ask, holdUp, begun, done, said, repairs } = await openWorker()
    const letGo = holdUp()
    const asked = [1, 2, 3, 4, 5, 6]
    for (const n of asked) await ask(n)
    await vi.waitFor(() => expect(begun).toHaveLength(2), PATIENCE)

    selfCheck.start()
    await checksItself(2)

    expect({ said, repairs: repairs.mock.calls, done }).toEqual({ said: [], repairs: [], done: [] })
    letGo()
    await vi.waitFor(() => expect(done.toSorted()).toEqual(asked))
  })

  it('serves again after its queue was deleted', async () => {
    const { bus, selfCheck, checksItself, topic, ask, done } = await openWorker()
    selfCheck.start()
    await checksItself(1)

    await bus.deleteQueue(`${topic}.node1`)

    await vi.waitFor(() => ask(1), PATIENCE)
    await vi.waitFor(() => expect(done).toEqual([1]), PATIENCE)
  })

  it('stops at once when it is told so, in the middle of a check', async () => {
    const { bus, selfCheck, topic, repairs } = await openWorker()
    // Somebody else has the same name: now and then it is asked, and does not answer.
    const source = { kind: 'server', exchange: bus.names.exchange, topic, server: 'node1' } as const
    const asked: unknown[] = []
    await (await bus.connect()).listen(source, (delivery) => void asked.push(delivery), { prefetch: 0 })

    selfCheck.start()
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0), PATIENCE)
    await selfCheck.close()

    expect(repairs.mock.calls).toEqual([])
  })
})

describe('a worker that has become deaf on RabbitMQ though its connection is well', () => {
  /** It has looked at nothing yet, and the broker's word that a consumer is cancelled does not reach it. */
  async function openDeafening({ timeoutMs, topology }: { timeoutMs?: number; topology?: TopologyName } = {}) {
    const url = inject('amqpUrl')
    const names = freshNames()
    const made = new MadeOnBroker(url)
    onTestFinished(() => made.remove())
    const proxy = await TcpProxy.to(url)
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    proxy.filter(withoutCancels)
    const connect = async (at: string) => {
      const transport = made.record(new RabbitTransport({ url: at, logger: silent, ...(topology && { topology }) }))
      onTestFinished(() => transport.close())
      await transport.connect(AbortSignal.timeout(20_000))
      return transport
    }
    const worker = await aWorker(await connect(proxy.through(url)), names, await connect(url), timeoutMs)
    const behindItsBack = (change: (channel: Channel) => Promise<unknown>) => onChannel(url, change)
    const serves = async (n: number) => {
      await vi.waitFor(() => worker.ask(n, { server: 'node1', timeoutMs: 2000 }), PATIENCE)
      await vi.waitFor(() => expect(worker.done).toContain(n), PATIENCE)
    }
    return { ...worker, made, proxy, names, queue: `${worker.topic}.node1`, behindItsBack, serves }
  }
  const QUORUM = { durable: true, arguments: { 'x-queue-type': 'quorum' } }
  const CLASSIC = { durable: true }
  const REPAIRED = ['messages do not arrive here; connecting anew', 'messages arrive again']

  it('serves again when its consumer was lost, although the queue is as it was', async () => {
    const classic = { topology: 'classic-durable' } as const
    const { behindItsBack, queue, names, selfCheck, ask, done, said, reasons } = await openDeafening(classic)
    await behindItsBack(async (channel) => {
      await channel.deleteQueue(queue)
      await channel.assertQueue(queue, CLASSIC)
      await channel.bindQueue(queue, names.exchange, queue)
    })
    await ask(1)

    selfCheck.start()

    await vi.waitFor(() => expect({ done, said }).toEqual({ done: [1], said: REPAIRED }), PATIENCE)
    expect(reasons).toEqual([
      `a call to itself had no reply within 3000 ms; the queue ${queue} has no consumer any more`,
    ])
  })

  it('serves again when the broker says that it consumes, and delivers into nothing', async () => {
    const { behindItsBack, queue, names, selfCheck, ask, done, said, reasons } = await openDeafening()
    // So quickly that RabbitMQ 3.10 takes the consumer of the old quorum queue for one of the new.
    await behindItsBack(async (channel) => {
      await channel.deleteQueue(queue)
      await channel.assertQueue(queue, QUORUM)
      await channel.bindQueue(queue, names.exchange, queue)
    })
    await ask(1)

    selfCheck.start()

    await vi.waitFor(() => expect({ done, said }).toEqual({ done: [1], said: REPAIRED }), PATIENCE)
    // Later the broker counts its consumers rightly, and may say so, too.
    expect(reasons).toEqual([expect.stringMatching(/^a call to itself had no reply within 3000 ms/)])
  })

  it('serves again when its queue was made anew and is bound to nothing', async () => {
    const { behindItsBack, queue, selfCheck, serves, said, reasons } = await openDeafening()
    await behindItsBack(async (channel) => {
      await channel.deleteQueue(queue)
      await channel.assertQueue(queue, QUORUM)
    })

    selfCheck.start()

    await serves(1)
    await vi.waitFor(() => expect(said).toEqual(REPAIRED), PATIENCE)
    expect(reasons).toEqual([expect.stringContaining('no queue takes what is sent to work node1')])
  })

  it('serves again when the binding of its queue was removed', async () => {
    const { behindItsBack, queue, names, selfCheck, serves, said, reasons } = await openDeafening()
    await behindItsBack((channel) => channel.unbindQueue(queue, names.exchange, queue))

    selfCheck.start()

    await serves(1)
    await vi.waitFor(() => expect(said).toEqual(REPAIRED), PATIENCE)
    expect(reasons).toEqual([expect.stringContaining('no queue takes what is sent to work node1')])
  })

  it('gets replies again when its reply queue was deleted', async () => {
    const { behindItsBack, made, pingItself, selfCheck, checksItself, serves, said, reasons } = await openDeafening()
    await pingItself()
    const replyQueues = made.queues.filter((name) => name.startsWith('reply_'))
    expect(replyQueues).toHaveLength(1)
    await behindItsBack((channel) => channel.deleteQueue(replyQueues[0] as string))

    selfCheck.start()

    await vi.waitFor(() => expect(said).toEqual(REPAIRED), PATIENCE)
    expect(reasons).toEqual([
      `a call to itself had no reply within 3000 ms; the queue ${replyQueues[0]} has no consumer any more`,
    ])
    await checksItself()
    expect(said).toEqual(REPAIRED)
    await serves(1)
  })

  it('serves the topic again when it has lost the consumer there, and others have theirs', async () => {
    const classic = { topology: 'classic-durable' } as const
    const { behindItsBack, topic, names, selfCheck, ask, done, said } = await openDeafening(classic)

    await behindItsBack(async (channel) => {
      await channel.deleteQueue(topic)
      await channel.assertQueue(topic, CLASSIC)
      await channel.bindQueue(topic, names.exchange, topic)
      // The other, which is well: nobody can tell whose consumer is counted. It takes one message and no more.
      await channel.prefetch(1)
      await channel.consume(topic, () => {})
      for (const n of [1, 2]) await ask(n, {})
      selfCheck.start()

      await vi.waitFor(() => expect(done).toEqual([2]), PATIENCE)
    })

    expect(said).toEqual([])
  })

  it('waits for a broker that has gone away, which is no deafness', async () => {
    const { proxy, selfCheck, checksItself, serves, said, repairs } = await openDeafening()
    let isBroken = false
    selfCheck.broken.catch(() => {
      isBroken = true
    })
    selfCheck.start()

    proxy.goDown()
    await checksItself(5)
    proxy.restore()

    await serves(1)
    expect({ said, repairs: repairs.mock.calls, isBroken }).toEqual({ said: [], repairs: [], isBroken: false })
  })

  it('gives itself up, with the reason, when new connections do not mend it', { timeout: 90_000 }, async () => {
    const { behindItsBack, queue, selfCheck, repairs } = await openDeafening({ timeoutMs: 10_000 })
    await behindItsBack(async (channel) => {
      await channel.deleteQueue(queue)
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-max-length': 1 } })
    })

    selfCheck.start()

    await expect(selfCheck.broken).rejects.toMatchObject({
      code: 'WORKER_DEAF',
      message: expect.stringContaining(`queue ${queue}`),
      details: { service: 'work', server: 'node1', reason: expect.stringContaining('it cannot consume') },
    })
    expect(repairs.mock.calls).toHaveLength(3)
  })
})

const started = await ownBroker()

if (started === undefined) {
  notRun({
    name: 'a worker whose user may not write any more',
    why: 'RabbitMQ is not installed, and a container cannot be told so here',
    how: 'apt-get install rabbitmq-server',
  })
} else {
  const broker = started
  describe('a worker whose user of the broker loses a permission', () => {
    afterAll(() => broker.close())

    it('gives itself up and says which, when new connections do not mend it', { timeout: 90_000 }, async () => {
      const user = await addPoorUser(broker, 'worker')
      const names = freshNames()
      const connect = () => {
        const transport = new RabbitTransport({ url: user.url, logger: silent })
        onTestFinished(() => transport.close())
        return transport
      }
      const { selfCheck, pingItself, repairs } = await aWorker(connect(), names, connect(), 10_000)
      await pingItself()
      await user.mayWrite('^$')

      selfCheck.start()

      const refused = `ACCESS_REFUSED - access to exchange '${names.exchange}' in vhost '/' refused for user 'worker'`
      await expect(selfCheck.broken).rejects.toMatchObject({
        code: 'WORKER_DEAF',
        message: expect.stringContaining('rabbitmqctl set_permissions -p / worker'),
        details: { service: 'work', server: 'node1', reason: expect.stringContaining(refused) },
      })
      expect(repairs.mock.calls).toHaveLength(3)
    })
  })
}
