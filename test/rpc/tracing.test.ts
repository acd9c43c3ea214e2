import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, cast, defineApi, type RequestInfo } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { topicOf } from '../../src/rpc/names.ts'
import { newRequestContext, type RequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { silent, transports } from '../support/transports.ts'

const Nothing = z.object({})
const TracedApi = defineApi({
  service: 'traced',
  version: '1.0',
  methods: {
    ask: call({ wire: 'ask', since: '1.0', summary: 'Answers.', input: Nothing, output: Nothing }),
    note: cast({ wire: 'note', since: '1.0', summary: 'Is noted.', input: Nothing, output: z.void() }),
  },
})

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
const trace = { traceparent, tracestate: 'vendor=a1' }

describe.each(transports)('traces over $name, in processes that record none', ({ open }) => {
  async function openTraced() {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const seen: RequestContext[] = []
    const see = async (_args: object, { context }: RequestInfo) => void seen.push(context)
    const transport = await bus.connect()
    const client = new RpcClient({ transport, logger: silent, names: bus.names })
    onTestFinished(() => client.close())
    const serve = async () => {
      const endpoint = { ask: async (args: object, info: RequestInfo) => see(args, info).then(() => ({})), note: see }
      const bindings = [bind(TracedApi, endpoint)] as const
      await new RpcServer({
        transport: await bus.connect(),
        logger: silent,
        server: 'node1',
        bindings,
        names: bus.names,
      }).start()
    }
    return { bus, transport, client, seen, serve }
  }

  it('go on through calls, casts and messages that were stored in between', async () => {
    const { transport, client, seen, serve } = await openTraced()
    await serve()
    const context = newRequestContext(trace)

    await client.of(TracedApi).ask(context, {})
    await client.of(TracedApi).note(context, {})
    const stored = client.message(TracedApi, 'note', context, {}, { orderingKey: 'a' })
    await transport.publish(stored.to, JSON.parse(JSON.stringify(stored)))

    await vi.waitFor(() => expect(seen).toEqual([context, context, context]))
  })

  it('are in the headers, and not in the body that Python reads', async () => {
    const { bus, transport, client } = await openTraced()
    const deliveries: Delivery[] = []
    const { exchange } = bus.names
    const source = { kind: 'server', exchange, topic: topicOf(bus.names, TracedApi), server: 'node1' } as const
    await transport.listen(source, (delivery) => deliveries.push(delivery), { prefetch: 10 })
    const context = newRequestContext(trace)

    await client.of(TracedApi).note(context, {})

    const [delivery] = await vi.waitFor(() => {
      expect(deliveries).toHaveLength(1)
      return deliveries as [Delivery]
    })
    expect(delivery.headers).toMatchObject(trace)
    const keys = Object.keys(decodeEnvelope(delivery.body, delivery.contentType))
    expect(keys.filter((key) => key.startsWith('_context_'))).toEqual(['_context_request_id'])
  })

  it('begin anew, and the request is served, when what came is malformed', async () => {
    const { transport, client, seen, serve } = await openTraced()
    await serve()
    const note = (request_id: string) => client.message(TracedApi, 'note', { request_id }, {}, { orderingKey: 'a' })
    const [one, two, three] = [note('req-1'), note('req-2'), note('req-3')]

    await transport.publish(one.to, { ...one, headers: { traceparent: 'malformed', tracestate: '' } })
    await transport.publish(two.to, { ...two, headers: { traceparent: 7 } })
    const inBody = three.body.replace('\\"_context_request_id', '\\"_context_traceparent\\": 7, \\"_context_request_id')
    await transport.publish(three.to, { ...three, body: inBody })

    const ids = ['req-1', 'req-2', 'req-3']
    await vi.waitFor(() => expect(seen.toSorted(byId)).toEqual(ids.map((request_id) => ({ request_id }))))
    expect(inBody).not.toBe(three.body)
  })
})

function byId(a: RequestContext, b: RequestContext): number {
  return a.request_id.localeCompare(b.request_id)
}
