import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { NoValidHost, type SevbusError } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { transports } from '../support/transports.ts'

const SECRET = 'TOPSECRET'
const Text = z.object({ text: z.string().max(9) })
const VaultApi = defineApi({
  service: 'vault',
  version: '1.0',
  methods: {
    look: call({ wire: 'look', since: '1.0', summary: 'Looks.', input: Text, output: Text }),
    refuse: call({ wire: 'refuse', since: '1.0', summary: 'Refuses.', input: Text, output: Text }),
    break: call({ wire: 'break', since: '1.0', summary: 'Breaks.', input: Text, output: Text }),
    lie: call({ wire: 'lie', since: '1.0', summary: 'Gives what it may not.', input: Text, output: Text }),
    sleep: call({ wire: 'sleep', since: '1.0', summary: 'Never answers.', input: Text, output: Text }),
    drop: cast({ wire: 'drop', since: '1.0', summary: 'Fails always.', input: Text, output: z.void() }),
  },
})

/** As an API tier sends it: with what opens doors to others. */
const context = {
  ...newRequestContext({ user_id: 'u-1' }),
  auth_token: SECRET,
  password: SECRET,
  service_catalog: [{ endpoint: 'https://u:TOPSECRET@api/', token: { id: SECRET } }],
}

describe.each(transports)('tokens in the context of a request over $name', ({ open }) => {
  it('are in no log, error or note on a dead letter, however it goes', async () => {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const topic = topicOf(bus.names, VaultApi)
    const lines: string[] = []
    // Everything is logged, and nothing is cut out of it afterwards.
    const logger = pino({ level: 'trace' }, { write: (line) => lines.push(line) })
    const seen: unknown[] = []
    const serve = async (server: string, allowedSenders: readonly string[] = []) => {
      // Its own messages it would take.
      const transport = allowedSenders.length > 0 ? await bus.connectUnnamed() : await bus.connect()
      const endpoint = {
        look: async ({ text }: { text: string }, { context }: { context: unknown }) => {
          seen.push(context)
          return { text }
        },
        refuse: async () => Promise.reject(new NoValidHost('no host', { hosts: 0 })),
        break: async () => Promise.reject(new TypeError('broken')),
        lie: async () => ({ text: SECRET.repeat(2) }),
        sleep: (_args: unknown, { signal }: { signal: AbortSignal }) =>
          new Promise<{ text: string }>((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason))
          }),
        drop: async () => Promise.reject(new Error('always')),
      }
      const bindings = [bind(VaultApi, endpoint)] as const
      const rpc = new RpcServer({
        ...{ transport, logger, server, names: bus.names, retryDelayMs: 1, allowedSenders },
        bindings: [...bindings],
      })
      await rpc.start()
      onTestFinished(() => rpc.drain(0))
    }
    const transport = await bus.connect()
    const letters: Delivery[] = []
    const queue = deadLetterQueue(bus.names)
    await transport.listen({ kind: 'queue', queue }, (letter) => letters.push(letter), { prefetch: 0 })
    const rpc = new RpcClient({ transport, logger, names: bus.names })
    onTestFinished(() => rpc.close())
    const client = rpc.of(VaultApi)
    await serve('node1')
    await serve('strict', ['somebody'])
    const server = 'node1'
    const raw = (body: string) =>
      transport.publish({ kind: 'server', exchange: bus.names.exchange, topic, server }, { body, mandatory: true })
    const request = { namespace: undefined, version: '1.0', context }

    const errors = (
      await Promise.allSettled([
        client.look(context, { text: '1' }, { server }),
        client.look(context, { text: 'longer than nine' }, { server }),
        client.refuse(context, { text: '1' }, { server }),
        client.break(context, { text: '1' }, { server }),
        client.lie(context, { text: '1' }, { server }),
        client.sleep(context, { text: '1' }, { server, timeoutMs: 200 }),
        client.look(context, { text: '1' }, { server: 'nobody' }),
        client.look(context, { text: '1' }, { server: 'strict' }),
        client.drop(context, { text: '1' }, { server: 'strict' }),
        client.drop(context, { text: '1' }, { server }),
        raw(encodeRequest({ ...request, method: 'drop', args: { text: 7, password: SECRET } })),
        raw(encodeRequest({ ...request, method: 'unknown', args: {} })),
        raw(encodeRequest({ ...request, version: '9.9', method: 'drop', args: {} })),
        raw(`{"method": "drop", "_context_auth_token": "${SECRET}", broken`),
        raw(`{"method": "drop", "_context_auth_token": "${SECRET}", "args": {"n": NaN}}`),
        raw(`{"method": "drop", "_context_request_id": ["${SECRET}"], "args": {}}`),
      ])
    ).flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as SevbusError] : []))
    await vi.waitFor(() => expect(letters).toHaveLength(8), { timeout: 10_000 })

    expect(seen).toEqual([expect.objectContaining({ auth_token: SECRET })])
    expect(errors.map(({ code }) => code).toSorted()).toEqual([
      'INTERNAL_ERROR',
      'INTERNAL_ERROR',
      'INVALID_ARGUMENTS',
      'MESSAGING_TIMEOUT',
      'NO_SUCH_SERVER',
      'NO_VALID_HOST',
      'SENDER_NOT_ALLOWED',
    ])
    expect(lines.join()).toContain(context.request_id)
    const told = [
      ...lines,
      ...errors.map((error) => JSON.stringify([error.message, error.stack, error.details])),
      ...letters.map(({ headers }) => JSON.stringify(headers)),
    ]
    expect(told.filter((text) => text.includes(SECRET))).toEqual([])
  })
})
