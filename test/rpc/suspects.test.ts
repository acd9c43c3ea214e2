import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { RpcClient } from '../../src/rpc/client.ts'
import { cast, defineApi } from '../../src/rpc/contract.ts'
import { DeadLetterBox } from '../../src/rpc/dead-letter-box.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { deadLetterQueue } from '../../src/rpc/names.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import { onChannel } from '../support/raw-channel.ts'
import { freshNames, silent } from '../support/transports.ts'

const Note = z.object({ text: z.string() })
const WorkApi = defineApi({
  service: 'work',
  version: '1.0',
  methods: { note: cast({ wire: 'note', since: '1.0', summary: 'Keeps it.', input: Note, output: z.void() }) },
})
const context = newRequestContext()
/** More than any message is delivered before it is parked. */
const MAX_LIVES = 40

describe.each(['quorum', 'classic-durable'] as const)('a cast that ends its workers, on %s queues', (topology) => {
  async function openWork() {
    const names = freshNames()
    const url = inject('amqpUrl')
    const open = () => new RabbitTransport({ url, topology, logger: silent })
    const transport = open()
    await transport.connect(AbortSignal.timeout(10_000))
    const client = new RpcClient({ transport, logger: silent, names })
    onTestFinished(async () => {
      await client.close()
      await transport.close()
      await onChannel(url, async (channel) => {
        for (const queue of ['work', 'work.w', 'dead-letters'])
          await channel.deleteQueue(`${names.topicPrefix}${queue}`)
        await channel.deleteExchange(names.exchange)
      })
    })
    return { names, open, looking: transport, client: client.of(WorkApi), box: new DeadLetterBox(transport, names) }
  }

  it('is parked by itself, and all that were only there at the time are done', async () => {
    const { names, open, looking, client, box } = await openWork()
    const done: string[] = []
    let lives = 0

    /** One life of a worker: it ends when the killer begins. @returns false when nothing has ended it */
    async function live(): Promise<boolean> {
      const transport = open()
      lives++
      const death = new AbortController()
      const died = new Promise<true>((resolve) => death.signal.addEventListener('abort', () => resolve(true)))
      const endpoint = bind(WorkApi, {
        async note({ text }) {
          if (text === 'killer') death.abort(new Error('killed'))
          // What runs in a process that is killed never ends.
          await sleep(40, undefined, { signal: death.signal }).catch(() => new Promise<never>(() => {}))
          done.push(text)
        },
      })
      const server = new RpcServer({ transport, logger: silent, server: 'w', names, bindings: [endpoint] })
      await server.start()
      const killed = await Promise.race([
        died,
        vi.waitFor(async () => {
          // A look would take the letter out of the others' sight.
          expect((await looking.inspect(deadLetterQueue(names)))?.messages).toBe(1)
          expect(new Set(done).size).toBe(6)
          return false as const
        }, 20_000),
      ])
      if (!killed) await server.drain(0)
      await transport.close()
      return killed
    }

    const server = new RpcServer({
      transport: open(),
      logger: silent,
      server: 'w',
      names,
      bindings: [bind(WorkApi, { note: async () => {} })],
    })
    await server.start()
    await server.drain(1000)
    const innocent = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const text of [...innocent.slice(0, 3), 'killer', ...innocent.slice(3)]) await client.note(context, { text })
    while ((await live()) && lives < MAX_LIVES) {
      // The next one is started, as an init system does.
    }

    expect(new Set(done)).toEqual(new Set(innocent))
    const { letters } = await box.look(10, AbortSignal.timeout(10_000))
    expect(letters.map(({ errorCode, error }) => [errorCode, error])).toEqual([
      ['INTERNAL_ERROR', expect.stringMatching(/^delivered 1[67] times and never finished/)],
    ])
    expect(letters[0]?.body.toString()).toContain('killer')
    expect(lives).toBeLessThan(MAX_LIVES)
  })
})
