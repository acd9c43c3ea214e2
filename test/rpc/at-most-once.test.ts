import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { ServiceStopping } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { topicOf } from '../../src/rpc/names.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { silent, transports } from '../support/transports.ts'

const Text = z.object({ text: z.string() })
const EchoApi = defineApi({
  service: 'echo',
  version: '1.0',
  methods: {
    say: call({ wire: 'say', since: '1.0', summary: 'Gives the text back.', input: Text, output: Text }),
    read: call({ wire: 'read', since: '1.0', summary: 'The text.', isRead: true, input: Text, output: Text }),
  },
})
const context = newRequestContext()

describe.each(transports)('a call is begun at most once on $name', ({ open }) => {
  async function openEcho(say: (text: string) => Promise<void>) {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const transport = await bus.connect()
    const rpc = new RpcClient({ transport, logger: silent, names: bus.names, timeoutMs: 10_000 })
    onTestFinished(() => rpc.close())
    const topic = topicOf(bus.names, EchoApi)
    const endpoint = {
      async say({ text }: { text: string }) {
        await say(text)
        return { text }
      },
      read: (args: { text: string }) => endpoint.say(args),
    }
    const serve = async (name: string) => {
      const server = new RpcServer({
        transport: await bus.connect(),
        logger: silent,
        server: name,
        bindings: [bind(EchoApi, endpoint)],
        names: bus.names,
        concurrency: 1,
      })
      await server.start()
      return server
    }
    return { client: rpc.of(EchoApi), serve, transport, source: { exchange: bus.names.exchange, topic } }
  }

  /** A server that takes one request and is gone with it, while another is there. */
  async function loseWith(ask: (client: Awaited<ReturnType<typeof openEcho>>['client']) => Promise<unknown>) {
    const said: string[] = []
    const { client, serve, transport, source } = await openEcho(async (text) => void said.push(text))
    let hasArrived = false
    const lost = await transport.listen(
      { kind: 'server', ...source, server: 'node1' },
      () => {
        hasArrived = true
      },
      { prefetch: 1 },
    )
    const answer = ask(client)
    answer.catch(() => {})
    await vi.waitFor(() => expect(hasArrived).toBe(true))
    await serve('node2')
    await lost.close()
    return { said, client, answer }
  }

  it('tells the caller that the server which had it was lost, and begins it nowhere else', async () => {
    const { said, client, answer } = await loseWith((client) => client.say(context, { text: 'once' }))

    await expect(answer).rejects.toMatchObject({ code: 'SERVER_LOST', retryable: true })
    expect(await client.say(context, { text: 'another' })).toEqual({ text: 'another' })
    expect(said).toEqual(['another'])
  })

  it('asks once more for what only reads', async () => {
    const { said, answer } = await loseWith((client) => client.read(context, { text: 'as often as you like' }))

    expect(await answer).toEqual({ text: 'as often as you like' })
    expect(said).toEqual(['as often as you like'])
  })

  async function drainWithOneWaiting(graceMs: number) {
    const begun: string[] = []
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const { client, serve, transport, source } = await openEcho(async (text) => {
      begun.push(text)
      await finished
    })
    const server = await serve('node1')
    const { confirmed } = transport.counts.published
    const running = client.say(context, { text: 'running' })
    running.catch(() => {})
    await vi.waitFor(() => expect(begun).toEqual(['running']))
    const waiting = client.say(context, { text: 'waiting' })
    waiting.catch(() => {})
    // It has reached the queue, and left it: it is at the server, which has its one hand full.
    await vi.waitFor(() => expect(transport.counts.published.confirmed).toBe(confirmed + 2))
    await vi.waitFor(async () => {
      expect(await transport.inspect(source.topic)).toMatchObject({ messages: 0 })
    })
    return { running, waiting, begun, finish, drained: server.drain(graceMs) }
  }

  it('serves during a drain those that the server has already', async () => {
    const { running, waiting, finish, drained } = await drainWithOneWaiting(10_000)

    finish()

    expect(await Promise.all([running, waiting])).toEqual([{ text: 'running' }, { text: 'waiting' }])
    await drained
  })

  it('tells those that the grace of a drain is too short for', async () => {
    const { waiting, begun, drained } = await drainWithOneWaiting(10)

    await expect(waiting).rejects.toThrow(ServiceStopping)
    await drained
    expect(begun).toEqual(['running'])
  })
})
