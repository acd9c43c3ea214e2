import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { MessagingTimeout, ServiceStopping } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, defineApi, type Endpoint } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { decodeMessage } from '../../src/rpc/envelope.ts'
import { DEFAULT_BUS_NAMES } from '../../src/rpc/names.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { silent } from '../support/transports.ts'

const Nothing = z.object({})

const ThinkApi = defineApi({
  service: 'think',
  version: '1.0',
  methods: {
    think: call({
      wire: 'think',
      since: '1.0',
      summary: 'Takes its time, and shows that it lives.',
      input: Nothing,
      output: Nothing,
      timeoutMs: 60_000,
      monitorTimeoutMs: 4000,
    }),
  },
})

const source = { kind: 'server', exchange: DEFAULT_BUS_NAMES.exchange, topic: 'sevbus-think', server: 'node2' } as const

/** Seconds pass here as the test says; what the bus delivers still needs real turns of the event loop. */
describe('time in RPC', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  function openThink() {
    const transport = new MemoryBus().connect()
    onTestFinished(() => transport.close())
    const client = new RpcClient({ transport, logger: silent }).of(ThinkApi)
    const serve = async (think: Endpoint<typeof ThinkApi>['think']) => {
      const server = new RpcServer({
        transport,
        logger: silent,
        server: 'node1',
        bindings: [bind(ThinkApi, { think })],
      })
      await server.start()
      return server
    }
    return { transport, client, serve }
  }

  it('waits as long as a server shows signs of life, but not beyond the time of the whole call', async () => {
    const { client, serve } = openThink()
    await serve(() => new Promise(() => {}))

    const ended = outcome(client.think(newRequestContext(), {}))
    await secondsPass(59)
    expect(ended.value).toBe('waiting')
    await secondsPass(1)

    expect(ended.value).toEqual(new MessagingTimeout('sevbus-think.think: no reply within 60000 ms', expect.anything()))
  })

  it('gives a server up that shows no sign of life, long before the time of the whole call', async () => {
    const { client, transport } = openThink()
    await transport.listen(source, (delivery) => delivery.ack(), { prefetch: 1 })

    const ended = outcome(client.think(newRequestContext(), {}))
    await secondsPass(3)
    expect(ended.value).toBe('waiting')
    await secondsPass(1)

    expect(ended.value).toMatchObject({
      code: 'MESSAGING_TIMEOUT',
      message: 'sevbus-think.think: the server has given no sign of life for 4000 ms',
    })
  })

  it('leaves no request in a queue for longer than the caller waits for a sign of life', async () => {
    const { client, transport } = openThink()
    await (await transport.listen(source, () => {}, { prefetch: 1 })).close()
    const publish = vi.spyOn(transport, 'publish')

    const calls = [outcome(client.think(newRequestContext(), {}))]
    calls.push(outcome(client.think(newRequestContext(), {}, { timeoutMs: 1500 })))
    await secondsPass(5)

    expect(publish.mock.calls.map(([, { expirationMs }]) => expirationMs)).toEqual([4000, 1500])
    expect(calls.map(({ value }) => value)).toEqual([expect.any(MessagingTimeout), expect.any(MessagingTimeout)])
  })

  it('sends no sign of life after the reply', async () => {
    const { client, serve, transport } = openThink()
    let finish: () => void = () => {}
    await serve(() => new Promise((resolve) => (finish = () => resolve({}))))
    const ended = outcome(client.think(newRequestContext(), {}))
    await secondsPass(5)
    finish()
    await secondsPass(0)
    expect(ended.value).toEqual({})

    const publish = vi.spyOn(transport, 'publish')
    await secondsPass(30)

    expect(publish.mock.calls).toEqual([])
  })

  it('goes on showing signs of life to a client that has lost its reply queue and declared it again', async () => {
    const { serve, transport } = openThink()
    await serve(() => new Promise(() => {}))
    const reply = { msgId: 'm-1', queue: 'reply_1', monitorSeconds: 4 }
    const request = { method: 'think', args: {}, namespace: undefined, version: '1.0', context: newRequestContext() }
    const anyServer = { kind: 'topic', exchange: source.exchange, topic: source.topic } as const
    await transport.publish(anyServer, { body: encodeRequest({ ...request, reply }), mandatory: true })
    await secondsPass(5)

    const replies: unknown[] = []
    const receive = (delivery: Delivery) => void replies.push(decodeMessage(delivery))
    await transport.listen({ kind: 'reply', queue: 'reply_1' }, receive, { prefetch: 0 })
    await secondsPass(2)

    expect(replies).toEqual([expect.objectContaining({ _msg_id: 'm-1', ending: false, result: null, failure: null })])
  })

  it('ends a drain although an endpoint does not heed the signal, and tells its caller', async () => {
    const { client, serve } = openThink()
    const server = await serve(() => new Promise(() => {}))
    const answer = outcome(client.think(newRequestContext(), {}))
    await secondsPass(1)

    const drained = outcome(server.drain(10_000))
    await secondsPass(11)
    expect([answer.value, drained.value]).toEqual(['waiting', 'waiting'])
    await secondsPass(2)

    expect([answer.value, drained.value]).toEqual([expect.any(ServiceStopping), undefined])
  })
})

/** What became of it, as far as it is known now. */
function outcome(work: Promise<unknown>): { value: unknown } {
  const seen: { value: unknown } = { value: 'waiting' }
  const settle = (value: unknown) => {
    seen.value = value
  }
  work.then(settle, settle)
  return seen
}

async function secondsPass(seconds: number): Promise<void> {
  for (let second = 0; second <= seconds; second++) {
    if (second > 0) await vi.advanceTimersByTimeAsync(1000)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}
