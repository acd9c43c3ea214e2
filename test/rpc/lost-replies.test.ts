import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { newMessageId } from '../../src/rpc/message-id.ts'
import { topicOf } from '../../src/rpc/names.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { silent, transports } from '../support/transports.ts'

const context = newRequestContext()

const EchoApi = defineApi({
  service: 'echo',
  version: '1.0',
  methods: {
    say: call({
      wire: 'say',
      since: '1.0',
      summary: 'Gives the text back.',
      input: z.object({ text: z.string() }),
      output: z.object({ text: z.string() }),
    }),
  },
})

describe.each(transports)('replies to clients that are not there, over $name', ({ open }) => {
  async function openServer(concurrency: number) {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const transport = await bus.connect()
    const say = vi.fn(async (args: { text: string }) => args)
    const server = new RpcServer({
      transport,
      logger: silent,
      server: 'node1',
      bindings: [bind(EchoApi, { say })],
      names: bus.names,
      concurrency,
    })
    await server.start()
    onTestFinished(() => server.drain(0))
    const rpc = new RpcClient({ transport: await bus.connect(), logger: silent, names: bus.names })
    onTestFinished(() => rpc.close())
    const ask = (queue: string, text: string) => {
      const reply = { msgId: newMessageId(), queue, monitorSeconds: undefined }
      const body = encodeRequest({
        method: 'say',
        args: { text },
        namespace: undefined,
        version: '1.0',
        context,
        reply,
      })
      const to = { kind: 'topic', exchange: bus.names.exchange, topic: topicOf(bus.names, EchoApi) } as const
      return transport.publish(to, { body, mandatory: true })
    }
    return { bus, transport, server, say, client: rpc.of(EchoApi), ask }
  }

  it('keep no hand of the server busy', async () => {
    const { say, client, ask } = await openServer(2)
    for (const n of [1, 2, 3, 4, 5, 6]) await ask(`reply_nobody_${n}`, 'lost')
    await vi.waitFor(() => expect(say).toHaveBeenCalledTimes(6))

    await expect(client.say(context, { text: 'here' })).resolves.toEqual({ text: 'here' })
  })

  it('arrive in order once the client has its queue again', async () => {
    const { bus, transport, say, ask } = await openServer(1)
    const queue = `${bus.names.topicPrefix}late`
    for (const text of ['1', '2', '3']) await ask(queue, text)
    await vi.waitFor(() => expect(say).toHaveBeenCalledTimes(3))

    const arrived: string[] = []
    const read = ({ body }: { body: Buffer }) => {
      const envelope = JSON.parse(body.toString()) as { 'oslo.message': string }
      arrived.push((JSON.parse(envelope['oslo.message']) as { result: { text: string } }).result.text)
    }
    await transport.listen({ kind: 'reply', queue }, read, { prefetch: 0 })

    await vi.waitFor(() => expect(arrived).toEqual(['1', '2', '3']), { timeout: 10_000 })
  })

  it('hold up the end of the server for a moment only', async () => {
    const { say, server, ask } = await openServer(1)
    await ask('reply_nobody', 'lost')
    await vi.waitFor(() => expect(say).toHaveBeenCalled())

    await server.drain(1000)
  })
})
