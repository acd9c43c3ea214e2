import { type ConfirmChannel, connect, type Options } from 'amqplib'
import fc from 'fast-check'
import { expect, inject, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { newMessageId } from '../../src/rpc/message-id.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { runs } from '../support/runs.ts'
import { freshNames, MadeOnBroker, silent } from '../support/transports.ts'

const Text = z.object({ text: z.string().max(100) })
const NoteApi = defineApi({
  service: 'note',
  version: '1.0',
  methods: {
    say: call({ wire: 'say', since: '1.0', summary: 'Gives the text back.', input: Text, output: Text }),
    note: cast({ wire: 'note', since: '1.0', summary: 'Keeps the text.', input: Text, output: z.void() }),
  },
})

interface Hostile {
  readonly body: Buffer
  readonly properties: Options.Publish
}

/** Something near a request: each key may be missing, right, or anything. */
const request = fc.record(
  {
    method: fc.oneof(fc.constantFrom('say', 'note', 'nothing', '__proto__', 'constructor'), fc.jsonValue()),
    args: fc.oneof(fc.constant({ text: 'x' }), fc.jsonValue()),
    version: fc.oneof(fc.constantFrom('1.0', '9.9', '1'), fc.jsonValue()),
    namespace: fc.jsonValue(),
    _msg_id: fc.oneof(fc.constant(newMessageId()), fc.jsonValue()),
    _reply_q: fc.oneof(fc.constant('reply_of_nobody'), fc.jsonValue()),
    _timeout: fc.jsonValue(),
    _unique_id: fc.jsonValue(),
    _context_request_id: fc.jsonValue(),
    _context_anything: fc.jsonValue(),
  },
  { requiredKeys: [] },
)

const enveloped = fc
  .tuple(fc.oneof(request, fc.jsonValue()), fc.constantFrom('2.0', '2.1', 2, null), fc.boolean())
  .map(([message, version, isText]) => {
    return JSON.stringify({ 'oslo.version': version, 'oslo.message': isText ? JSON.stringify(message) : message })
  })

const body = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc
    .oneof(
      enveloped,
      request.map((message) => JSON.stringify(message)),
      fc.json(),
    )
    .map((text) => Buffer.from(text)),
  // Cut off in the middle.
  fc.tuple(enveloped, fc.nat(400)).map(([text, length]) => Buffer.from(text).subarray(0, length)),
  fc.constantFrom('['.repeat(50_000), '{"a":'.repeat(50_000), `"${'\\'.repeat(5000)}`).map((text) => Buffer.from(text)),
)

/** What a header of AMQP can hold, under names that mean something here. */
const headers = fc.dictionary(
  fc.constantFrom('compression', 'traceparent', 'x-delivery-count', 'x-sevbus-tries', 'x-sevbus-sent-at', 'other'),
  fc.oneof(fc.string({ maxLength: 60 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.boolean()),
)

const hostile: fc.Arbitrary<Hostile> = fc
  .record({
    body,
    contentType: fc.oneof({ weight: 4, arbitrary: fc.constant('application/json') }, fc.string({ maxLength: 40 })),
    headers: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, headers),
    type: fc.string({ maxLength: 20 }),
  })
  .map(({ body, ...properties }) => ({ body, properties }))

it('refuses whatever bytes arrive, keeps nothing of them in its queues, and serves the next good call', async () => {
  const names = freshNames()
  const made = new MadeOnBroker(inject('amqpUrl'))
  const transport = made.record(new RabbitTransport({ url: inject('amqpUrl'), logger: silent }))
  const server = new RpcServer({
    transport,
    logger: silent,
    server: 'node1',
    bindings: [bind(NoteApi, { say: async (args) => args, note: async () => {} })],
    names,
    retryDelayMs: 1,
  })
  await server.start()
  const rpc = new RpcClient({ transport, logger: silent, names })
  const client = rpc.of(NoteApi)
  const connection = await connect(inject('amqpUrl'))
  const channel = await connection.createConfirmChannel()
  onTestFinished(async () => {
    await connection.close()
    await rpc.close()
    await server.drain(0)
    await transport.close()
    await made.remove()
  })
  const context = newRequestContext()
  const queue = topicOf(names, NoteApi)

  await fc.assert(
    fc.asyncProperty(fc.array(hostile, { minLength: 20, maxLength: 60 }), async (messages) => {
      await Promise.all(messages.map((message) => send(channel, queue, message)))

      await expect(client.say(context, { text: 'good' })).resolves.toEqual({ text: 'good' })
      await client.note(context, { text: 'good' })
      await vi.waitFor(async () => expect((await channel.checkQueue(queue)).messageCount).toBe(0))
    }),
    { numRuns: runs(10), endOnFailure: true },
  )

  // What nobody waits for is kept for a person to look at.
  expect((await channel.checkQueue(deadLetterQueue(names))).messageCount).toBeGreaterThan(0)
}, 60_000)

function send(channel: ConfirmChannel, queue: string, { body, properties }: Hostile): Promise<void> {
  return new Promise((resolve, reject) => {
    channel.publish('', queue, body, properties, (error: unknown) => (error ? reject(error) : resolve()))
  })
}
