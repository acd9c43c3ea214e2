import { pino } from 'pino'
import { z } from 'zod'
import { RpcClient } from '../../dist/rpc/client.js'
import { call, defineApi } from '../../dist/rpc/contract.js'
import { bind } from '../../dist/rpc/dispatcher.js'
import { RabbitTransport } from '../../dist/rpc/drivers/rabbit.js'
import { encodeEnvelope } from '../../dist/rpc/envelope.js'
import { newRequestContext } from '../../dist/rpc/request-context.js'
import { RpcServer } from '../../dist/rpc/server.js'
import { accept, BootReply, BootRequest, bootEvent, bootRequest, expectReplyTo } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, OPTIONS, QUEUE, runPeer } from '../peer.ts'

const BenchApi = defineApi({
  service: 'boot',
  version: '1.0',
  methods: {
    boot: call({
      wire: 'boot',
      since: '1.0',
      summary: 'Boots.',
      input: z.object({ request: BootRequest }),
      output: z.object({ reply: BootReply }),
    }),
  },
})

const logger = pino({ level: 'warn' }, process.stderr)
const names = { exchange: `${QUEUE}.x`, topicPrefix: `${QUEUE}-` }
const notifications = { exchange: `${QUEUE}.x`, topics: [QUEUE], priorities: ['info'] }
const transport = new RabbitTransport({
  url: AMQP_URL,
  logger,
  topology: IS_QUORUM ? 'quorum' : 'classic-durable',
})

async function serveCalls() {
  const endpoint = bind(BenchApi, { boot: async ({ request }) => ({ reply: accept(request) }) })
  const server = new RpcServer({ transport, logger, names, server: 'bench', bindings: [endpoint], concurrency: 512 })
  await server.start()
}

async function makeCalls() {
  const client = new RpcClient({ transport, logger, names }).of(BenchApi)
  const context = newRequestContext()
  return async (n: number) => {
    const request = bootRequest(n)
    const { reply } = await client.boot(context, { request })
    expectReplyTo(request, reply)
  }
}

async function consumeEvents() {
  const read = (delivery: { body: Buffer; ack(): void }) => {
    JSON.parse(delivery.body.toString())
    delivery.ack()
  }
  await transport.listen({ kind: 'notifications', ...notifications }, read, { prefetch: 512 })
}

async function publishEvents() {
  const to = { kind: 'notification', exchange: notifications.exchange, topic: QUEUE, priority: 'info' } as const
  return async (n: number) => {
    await transport.publish(to, { body: encodeEnvelope({ payload: bootEvent(n) }), mandatory: false })
  }
}

await runPeer(
  OPTIONS.events ? { server: consumeEvents, client: publishEvents } : { server: serveCalls, client: makeCalls },
)
