import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { InvalidMessage, SpawnFailed } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { cast, defineApi } from '../../src/rpc/contract.ts'
import { type DeadLetter, DeadLetterBox } from '../../src/rpc/dead-letter-box.ts'
import { parkDeadLetter } from '../../src/rpc/dead-letters.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { type BusNames, deadLetterQueue } from '../../src/rpc/names.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery, Transport } from '../../src/rpc/transport.ts'
import { silent, transports } from '../support/transports.ts'

const BuildApi = defineApi({
  service: 'build',
  version: '1.0',
  methods: {
    spawn: cast({
      wire: 'spawn',
      since: '1.0',
      summary: 'Starts a guest.',
      input: z.object({ guest: z.string() }),
      output: z.void(),
    }),
  },
})
const context = newRequestContext({ user_id: 'u-1' })

/** A delivery of its own over the driver's. */
function factsOf(delivery: Delivery): Omit<Delivery, 'lost'> {
  const { queue, body, contentType, headers, userId, fanout, deliveryCount, isCounted, sentAtMs, expirationMs } =
    delivery
  const read = { queue, body, contentType, headers, userId, fanout, deliveryCount, isCounted, sentAtMs, expirationMs }
  return { ...read, ack: () => delivery.ack(), requeue: () => delivery.requeue() }
}

/** A connection whose letters are back only some time after it has closed its channel, and nobody waits for that. */
function closingLate(transport: Transport, onStopped: () => Promise<void>): Transport {
  return {
    declare: (...args: Parameters<Transport['declare']>) => transport.declare(...args),
    inspect: (...args: Parameters<Transport['inspect']>) => transport.inspect(...args),
    async listen(...args: Parameters<Transport['listen']>) {
      const listener = await transport.listen(...args)
      const stop = () => listener.stop().then(onStopped)
      const close = async () => void setTimeout(() => void listener.close(), 200)
      return { ...listener, stop, close }
    },
  } as unknown as Transport
}

async function parkAnother(transport: Transport, names: BusNames): Promise<void> {
  const delivery = {
    queue: 'build.h1',
    body: Buffer.from('{}'),
    contentType: 'application/json',
    headers: {},
    userId: undefined,
  }
  await parkDeadLetter({ transport, names }, 'build', delivery, new SpawnFailed('it came later'), 1)
}

describe.each(transports)('dead letters over $name', ({ open }) => {
  /** Two hosts, on which nothing starts until they are mended. */
  async function openHosts() {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const started: string[] = []
    const host = { isMended: false }
    const tries: string[] = []
    const traces = new Set<string | undefined>()
    for (const server of ['h1', 'h2']) {
      const worker = new RpcServer({
        transport: await bus.connect(),
        logger: silent,
        server,
        names: bus.names,
        maxDeliveries: 3,
        retryDelayMs: 1,
        bindings: [
          bind(BuildApi, {
            async spawn({ guest }, { context: { traceparent } }) {
              tries.push(`${guest} on ${server}`)
              traces.add(traceparent)
              if (!host.isMended) throw new SpawnFailed(`${guest} did not start`)
              started.push(`${guest} on ${server}`)
            },
          }),
        ],
      })
      await worker.start()
      onTestFinished(() => worker.drain(1000))
    }
    const transport = await bus.connect()
    const client = new RpcClient({ transport, logger: silent, names: bus.names })
    onTestFinished(() => client.close())
    const box = new DeadLetterBox(transport, bus.names)
    const signal = AbortSignal.timeout(30_000)
    const look = async (limit = 100) => await box.look(limit, signal)
    const parked = async (count: number) =>
      await vi.waitFor(
        async () => {
          const { letters } = await look()
          expect(letters).toHaveLength(count)
          return letters
        },
        { timeout: 10_000, interval: 50 },
      )
    return { bus, transport, host, started, tries, traces, box, look, parked, signal, build: client.of(BuildApi) }
  }

  const facts = ({ queue, method, errorCode, error, tries }: DeadLetter) => ({ queue, method, errorCode, error, tries })

  it('are found with what they were, why they are there and how often they were tried', async () => {
    const { bus, build, parked } = await openHosts()

    await build.spawn(context, { guest: 'a' }, { server: 'h2' })

    const [letter] = (await parked(1)) as [DeadLetter]
    expect(facts(letter)).toEqual({
      queue: `${bus.names.topicPrefix}build.h2`,
      method: 'spawn',
      errorCode: 'SPAWN_FAILED',
      error: 'a did not start',
      tries: 3,
    })
    expect(letter.id).toMatch(/^[0-9a-f]{32}$/)
    expect(Math.abs(Date.now() - (letter.parkedAtMs ?? 0))).toBeLessThan(30_000)
  })

  it('stay in their order, under their ids, however often one looks', async () => {
    const { build, parked, look } = await openHosts()
    for (const guest of ['a', 'b', 'c']) {
      await build.spawn(context, { guest }, { server: 'h1' })
      await parked(guest.charCodeAt(0) - 96)
    }

    const looks = []
    for (let count = 0; count < 25; count++) looks.push((await look()).letters.map(({ id }) => id))

    expect(new Set(looks.map((ids) => ids.join())).size).toBe(1)
    expect((await look()).letters.map(({ error }) => error)).toEqual([
      'a did not start',
      'b did not start',
      'c did not start',
    ])
  })

  it('stay in their order when only the first are looked at, and when more are parked meanwhile', async () => {
    const { transport, bus, look, box, signal } = await openHosts()
    const queue = `${bus.names.topicPrefix}dead-letters`
    const park = (id: string) =>
      transport.publish(
        { kind: 'queue', queue, durable: true },
        { body: '{}', mandatory: false, headers: { 'x-sevbus-letter-id': id } },
      )
    const ids = Array.from({ length: 50 }, (_, number) => `letter-${number}`)
    for (const id of ids) await park(id)

    for (const limit of [1, 7, 49]) expect((await look(limit)).letters.map(({ id }) => id)).toEqual(ids.slice(0, limit))
    const late: Promise<void>[] = []
    await box.settle((letter) => {
      if (letter.id === ids[10]) late.push(park('late'))
      return letter.id === ids[20] ? 'purge' : 'keep'
    }, signal)
    await Promise.all(late)

    const left = [...ids.filter((id) => id !== ids[20]), 'late']
    expect((await look()).letters.map(({ id }) => id)).toEqual(left)
  })

  it('are all found by the next look, however late the broker has back what the last one took, and whatever came since', async () => {
    const { bus, transport, build, look, parked, signal } = await openHosts()
    await build.spawn(context, { guest: 'a' }, { server: 'h1' })
    const [first] = await parked(1)
    const box = new DeadLetterBox(
      closingLate(transport, () => parkAnother(transport, bus.names)),
      bus.names,
    )

    await box.look(100, signal)
    const { letters } = await look()

    expect(letters.map(({ error }) => error).toSorted()).toEqual([first?.error, 'it came later'].toSorted())
  })

  it('are found when somebody who looked at them has left without waiting for them', async () => {
    const { bus, transport, build, look, parked } = await openHosts()
    await build.spawn(context, { guest: 'a' }, { server: 'h1' })
    const [first] = await parked(1)
    let held = 0
    const source = { kind: 'queue', queue: deadLetterQueue(bus.names) } as const
    const listener = await transport.listen(source, () => void held++, { prefetch: 100 })
    await vi.waitFor(() => expect(held).toBe(1))

    const looked = look()
    setTimeout(() => void listener.close(), 200)

    expect((await looked).letters).toEqual([first])
  })

  it('are looked at as far as asked, and the others counted', async () => {
    const { build, parked, look } = await openHosts()
    for (const guest of ['a', 'b', 'c']) await build.spawn(context, { guest })
    await parked(3)

    const { letters, others } = await look(2)

    expect([letters.length, others]).toEqual([2, 1])
  })

  it('once replayed, go to the host that they were for, and have their effect once', async () => {
    const { build, parked, look, host, started, tries, box, signal } = await openHosts()
    await build.spawn(context, { guest: 'a' }, { server: 'h2' })
    await build.spawn(context, { guest: 'b' }, { server: 'h1' })
    const letters = await parked(2)
    const ofA = letters.find(({ error }) => error.startsWith('a ')) as DeadLetter

    host.isMended = true
    const { settled, failed } = await box.settle(({ id }) => (id === ofA.id ? 'replay' : 'keep'), signal)

    expect([settled.map(({ id }) => id), failed]).toEqual([[ofA.id], []])
    await vi.waitFor(() => expect(started).toEqual(['a on h2']))
    expect(tries.filter((each) => each === 'a on h2')).toHaveLength(4)
    expect((await look()).letters.map(({ error }) => error)).toEqual(['b did not start'])
  })

  it('once replayed, go on in the trace of their request', async () => {
    const { build, parked, host, started, traces, box, signal } = await openHosts()
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    await build.spawn(newRequestContext({ traceparent }), { guest: 'a' })
    await parked(1)

    host.isMended = true
    await box.settle(() => 'replay', signal)

    await vi.waitFor(() => expect(started).toHaveLength(1))
    expect([...traces]).toEqual([traceparent])
  })

  it('are told apart when the time is over on the way: those that are done, and those that are kept', async () => {
    const { build, parked, look, box } = await openHosts()
    for (const guest of ['a', 'b', 'c']) {
      await build.spawn(context, { guest }, { server: 'h1' })
      await parked(guest.charCodeAt(0) - 96)
    }
    const time = new AbortController()
    const isOver = new Error('the time is over')

    const { settled, failed } = await box.settle(({ error }) => {
      if (error.startsWith('b ')) time.abort(isOver)
      return 'purge'
    }, time.signal)

    expect(settled.map(({ error }) => error)).toEqual(['a did not start'])
    expect(failed.map(({ letter, error }) => [letter.error, error])).toEqual([
      ['b did not start', isOver],
      ['c did not start', isOver],
    ])
    expect((await look()).letters).toEqual(failed.map(({ letter }) => letter))
  })

  it('are not said to be replayed when the connection was lost before they were removed', async () => {
    const { transport, build, parked, host, started, box, signal } = await openHosts()
    for (const guest of ['a', 'b']) {
      await build.spawn(context, { guest }, { server: 'h1' })
      await parked(guest.charCodeAt(0) - 96)
    }
    host.isMended = true
    let isLost = false
    const publish = transport.publish.bind(transport)
    vi.spyOn(transport, 'publish').mockImplementation(async (...sent) => {
      await publish(...sent)
      isLost = true
    })
    const listen = transport.listen.bind(transport)
    vi.spyOn(transport, 'listen').mockImplementationOnce((source, handler, options) =>
      listen(
        source,
        (delivery) =>
          handler({
            ...factsOf(delivery),
            get lost() {
              return isLost
            },
          }),
        options,
      ),
    )

    const { settled, failed } = await box.settle(() => 'replay', signal)

    expect(settled).toEqual([])
    expect(failed.map(({ error }) => (error as Error).message)).toEqual([
      'the connection to the broker was lost: it was sent again, and could not be removed',
      'the connection to the broker was lost: somebody else may have it now',
    ])
    await vi.waitFor(() => expect(started).toEqual(['a on h1']))
    await parked(2)
  })

  it('that fail again are parked again', async () => {
    const { build, parked, box, signal } = await openHosts()
    await build.spawn(context, { guest: 'a' })
    const [first] = (await parked(1)) as [DeadLetter]

    await box.settle(() => 'replay', signal)

    await vi.waitFor(async () => {
      const [again] = await parked(1)
      expect(again?.id).not.toBe(first.id)
      expect(again?.error).toBe('a did not start')
    })
  })

  it('are kept, with the reason, when the queue they came from is gone', async () => {
    const { transport, bus, parked, box, signal } = await openHosts()
    const queue = `${bus.names.topicPrefix}dead-letters`
    await transport.publish(
      { kind: 'queue', queue, durable: true },
      { body: '{}', mandatory: false, headers: { 'x-sevbus-queue': 'gone', 'x-sevbus-letter-id': 'l1' } },
    )
    await parked(1)

    const { settled, failed } = await box.settle(() => 'replay', signal)

    expect(settled).toEqual([])
    expect(failed.map(({ letter, error }) => [letter.id, (error as Error).name])).toEqual([
      ['l1', 'MessageUndeliverable'],
    ])
    await parked(1)
  })

  it('are gone when they are purged, and no others', async () => {
    const { build, parked, look, box, signal } = await openHosts()
    for (const guest of ['a', 'b']) await build.spawn(context, { guest })
    await parked(2)

    const { settled } = await box.settle(({ error }) => (error.startsWith('a ') ? 'purge' : 'keep'), signal)

    expect(settled.map(({ error }) => error)).toEqual(['a did not start'])
    expect((await look()).letters.map(({ error }) => error)).toEqual(['b did not start'])
  })

  it('keep the bytes of what was no text', async () => {
    const { transport, bus, parked } = await openHosts()
    const { exchange, topicPrefix } = bus.names
    const bytes = Buffer.from([0xff, 0x00, 0xfe, 0x7b])

    const to = { kind: 'topic', exchange, topic: `${topicPrefix}build` } as const
    await transport.publish(to, { body: bytes, mandatory: true })

    const [letter] = (await parked(1)) as [DeadLetter]
    expect(letter.body).toEqual(bytes)
    expect([letter.method, letter.errorCode]).toEqual([undefined, InvalidMessage.code])
  })
})
