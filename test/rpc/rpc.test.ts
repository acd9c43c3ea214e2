import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import {
  DatabaseUnavailable,
  InternalError,
  InvalidArguments,
  InvalidMessage,
  MessagingTimeout,
  NoSuchMethod,
  NoSuchServer,
  NoValidHost,
  RemoteError,
  ServiceStopping,
  SpawnFailed,
  UnserializableValue,
  UnsupportedVersion,
} from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { call, cast, defineApi, type Endpoint, type RequestInfo } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { decodeEnvelope, encodeEnvelope, type JsonObject } from '../../src/rpc/envelope.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import { pingApiOf } from '../../src/rpc/ping.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer, type RpcServerOptions } from '../../src/rpc/server.ts'
import type { Delivery, Transport } from '../../src/rpc/transport.ts'
import { silent, transports } from '../support/transports.ts'

const Text = z.object({ text: z.string() })

const EchoApi = defineApi({
  service: 'echo',
  version: '1.2',
  methods: {
    say: call({ wire: 'say', since: '1.0', summary: 'Gives the text back.', input: Text, output: Text }),
    count: call({
      wire: 'count',
      since: '1.1',
      summary: 'Gives a number of any kind.',
      input: z.object({}),
      output: z.object({ n: z.number() }),
    }),
    note: cast({ wire: 'note', since: '1.0', summary: 'Keeps the text.', input: Text, output: z.void() }),
    beat: cast({
      wire: 'beat',
      since: '1.2',
      isTransient: true,
      summary: 'Tells that somebody lives, until the next one does.',
      input: Text,
      output: z.void(),
    }),
  },
})

const context = newRequestContext({ user_id: 'u-1' })

describe.each(transports)('RPC over $name', ({ open }) => {
  async function openEcho() {
    const bus = await open()
    onTestFinished(() => bus[Symbol.asyncDispose]())
    const topic = topicOf(bus.names, EchoApi)

    async function serve(endpoint: Partial<Endpoint<typeof EchoApi>>, options: Partial<RpcServerOptions> = {}) {
      const transport = options.transport ?? (await bus.connect())
      const server = new RpcServer({
        transport,
        logger: silent,
        server: 'node1',
        bindings: [bind(EchoApi, { ...echo, ...endpoint })],
        names: bus.names,
        retryDelayMs: 1,
        ...options,
      })
      await server.start()
      return { server, transport }
    }

    const transport = await bus.connect()
    const rpc = new RpcClient({ transport, logger: silent, names: bus.names, timeoutMs: 10_000 })
    onTestFinished(() => rpc.close())
    const letters: Delivery[] = []
    await transport.listen({ kind: 'queue', queue: deadLetterQueue(bus.names) }, (letter) => letters.push(letter), {
      prefetch: 0,
    })
    return {
      bus,
      topic,
      serve,
      transport,
      rpc,
      client: rpc.of(EchoApi),
      anyServer: { kind: 'topic', exchange: bus.names.exchange, topic } as const,
      /** Codes of the errors for which messages were parked. */
      parked: () => letters.map(({ headers }) => headers['x-sevbus-error-code']),
      letters,
    }
  }

  describe('calls', () => {
    it('says of a call that was not answered when nobody is there who would take it', async () => {
      const { serve, client, topic } = await openEcho()
      const { server } = await serve({})
      await server.drain(1000)

      const call = client.say(context, { text: 'hello' }, { timeoutMs: 300 })

      await expect(call).rejects.toThrow(`no reply within 300 ms: no server consumes ${topic} now`)
      await expect(call).rejects.toThrow(MessagingTimeout)
    })

    it('answers a call with the result, and gives the endpoint the context of the request', async () => {
      const { serve, client } = await openEcho()
      const seen: RequestInfo[] = []
      await serve({
        say: async ({ text }, request) => {
          seen.push(request)
          return { text: text.toUpperCase() }
        },
      })

      const answer = await client.say(context, { text: 'größe ☃' })

      expect(answer).toEqual({ text: 'GRÖSSE ☃' })
      expect(seen.map(({ context }) => context)).toEqual([context])
    })

    it('keeps many calls apart that are under way at once', async () => {
      const { serve, client } = await openEcho()
      await serve({})

      const asked = Array.from({ length: 100 }, (_, n) => ({ text: String(n) }))
      const answers = await Promise.all(asked.map((ask) => client.say(context, ask)))

      expect(answers).toEqual(asked)
    })

    it('reaches the server that is named', async () => {
      const { serve, client } = await openEcho()
      await serve({ say: async () => ({ text: 'one' }) }, { server: 'node1' })
      await serve({ say: async () => ({ text: 'two' }) }, { server: 'node2.example.org' })

      expect(await client.say(context, { text: '' }, { server: 'node2.example.org' })).toEqual({ text: 'two' })
      expect(await client.say(context, { text: '' }, { server: 'node1' })).toEqual({ text: 'one' })
    })

    it('says at once that nobody serves a topic or a server, long before any timeout', async () => {
      const { client } = await openEcho()
      const started = performance.now()

      const nobody = client.say(context, { text: '' }, { timeoutMs: 20_000 })
      await expect(nobody).rejects.toThrow(NoSuchServer)
      const nowhere = client.note(context, { text: '' }, { server: 'nowhere', timeoutMs: 20_000 })
      await expect(nowhere).rejects.toThrow(NoSuchServer)

      expect(performance.now() - started).toBeLessThan(10_000)
    })

    it('times out when the server does not answer, and drops the answer that comes later', async () => {
      const { serve, client } = await openEcho()
      const waiting = gate()
      await serve({
        say: async ({ text }) => {
          if (text === 'slow') await waiting.opened
          return { text }
        },
      })

      await expect(client.say(context, { text: 'slow' }, { timeoutMs: 100 })).rejects.toThrow(MessagingTimeout)
      waiting.open()

      expect(await client.say(context, { text: 'next' })).toEqual({ text: 'next' })
    })

    it('stops waiting with the reason of the caller', async () => {
      const { serve, client } = await openEcho()
      const waiting = gate()
      onTestFinished(waiting.open)
      await serve({ say: async ({ text }) => waiting.opened.then(() => ({ text })) })
      const caller = new AbortController()
      const reason = new Error('no longer interested')

      const answer = client.say(context, { text: '' }, { signal: caller.signal })
      caller.abort(reason)

      await expect(answer).rejects.toBe(reason)
    })

    it('brings an error of the server back with its class, code, text and details', async () => {
      const { serve, client } = await openEcho()
      await serve({
        say: async () => {
          throw new NoValidHost('no host has a free slot', { rejections: { 'no free slot': 3 } })
        },
      })

      const error = await client.say(context, { text: '' }).catch((thrown: unknown) => thrown)

      expect(error).toBeInstanceOf(NoValidHost)
      expect(error).toMatchObject({
        code: 'NO_VALID_HOST',
        message: 'no host has a free slot',
        details: { rejections: { 'no free slot': 3 } },
      })
    })

    it('tells of a defect in the server by its text, and runs a failed call only once', async () => {
      const { serve, client } = await openEcho()
      const tries: string[] = []
      await serve({
        say: async ({ text }) => {
          tries.push(text)
          throw new TypeError('undefined is not a slot')
        },
      })

      const error = await client.say(context, { text: 'once' }).catch((thrown: unknown) => thrown)

      expect(error).toMatchObject({ code: 'INTERNAL_ERROR', message: 'TypeError: undefined is not a slot' })
      expect(tries).toEqual(['once'])
    })

    it('refuses arguments that the contract does not have, at the client and at the server', async () => {
      const { serve, client, ask } = await withRawCalls(await openEcho())
      await serve({})

      await expect(client.say(context, { text: 7 as unknown as string })).rejects.toThrow(InvalidArguments)
      const reply = await ask({ method: 'say', args: { text: 7 }, version: '1.0' })

      expect(failureOf(reply)).toMatchObject({
        class: 'InvalidArguments',
        module: 'sevbus.errors',
        kwargs: { error_code: 'INVALID_ARGUMENTS', method: 'say', problems: [{ field: 'text' }] },
      })
    })

    it('refuses a result that its own contract does not have, or JSON, instead of letting the caller wait', async () => {
      const { serve, client } = await openEcho()
      let n: unknown = 'seven'
      await serve({ count: async () => ({ n: n as number }) })

      await expect(client.count(context, {})).rejects.toThrow(InternalError)
      n = 2 ** 60
      await expect(client.count(context, {})).rejects.toThrow(UnserializableValue)
      await expect(client.say(context, { text: 'x'.repeat(5 * 1024 * 1024) })).rejects.toThrow(UnserializableValue)
      n = 7
      expect(await client.count(context, {})).toEqual({ n: 7 })
    })

    it('answers unknown methods and versions in the words of oslo.messaging', async () => {
      const { serve, ask } = await withRawCalls(await openEcho())
      await serve({})
      const failure = async (message: JsonObject) => failureOf(await ask(message))

      expect(await failure({ method: 'sing', version: '1.0' })).toMatchObject({
        class: 'NoSuchMethod',
        module: 'oslo_messaging.rpc.dispatcher',
        message: 'Endpoint does not support RPC method sing',
        args: ['Endpoint does not support RPC method sing'],
      })
      for (const version of ['1.3', '2.0', '0.9', 'x.y', '1']) {
        expect(await failure({ method: 'say', version })).toMatchObject({
          class: 'UnsupportedVersion',
          module: 'oslo_messaging.rpc.dispatcher',
          message: `Endpoint does not support RPC version ${version}. Attempted method: say`,
        })
      }
      for (const namespace of ['other', '']) {
        expect(await failure({ method: 'say', namespace, version: '1.0' })).toMatchObject({
          class: 'UnsupportedVersion',
        })
      }
      expect(await failure({ method: 'constructor', version: '1.0' })).toMatchObject({ class: 'NoSuchMethod' })
      expect(await failure({ method: '__proto__', version: '1.0' })).toMatchObject({ class: 'NoSuchMethod' })
    })

    it("answers oslo.messaging's ping, whatever it serves and whoever it is asked of, and no other version of it", async () => {
      const { serve, rpc, ask } = await withRawCalls(await openEcho())
      const second = { ...EchoApi, version: '2.0', namespace: 'echoes' }
      await serve({}, { bindings: [bind(second, echo)], server: 'node2' })
      const ping = rpc.of(pingApiOf('echo'))

      expect(await ping.ping(context, { any: 'thing' })).toBe('pong')
      expect(await ping.ping(context, {}, { server: 'node2' })).toBe('pong')
      const later = await ask({ method: 'oslo_rpc_server_ping', version: '2.0' })
      expect(failureOf(later)).toMatchObject({ class: 'UnsupportedVersion' })
    })

    /** A server of another make, which answers a call with these messages. */
    async function withAnswers({ transport, client, anyServer }: Awaited<ReturnType<typeof openEcho>>) {
      type Answer = (request: JsonObject) => string | readonly string[]
      let answer: Answer = () => ''
      const respond = async (delivery: Delivery) => {
        delivery.ack()
        const request = decodeEnvelope(delivery.body, delivery.contentType)
        const to = { kind: 'queue', queue: String(request._reply_q) } as const
        for (const body of [answer(request)].flat()) await transport.publish(to, { body, mandatory: true })
      }
      const server = { ...anyServer, kind: 'server', server: 'python' } as const
      await transport.listen(server, (delivery) => void respond(delivery), { prefetch: 1 })
      return (given: Answer) => {
        answer = given
        return client.say(context, { text: '' }).catch((thrown: unknown) => thrown)
      }
    }

    it('takes an answer in every form that Python takes, and only the first', async () => {
      const ask = await withAnswers(await openEcho())
      const result = { text: 'ok' }
      const forms: ((_msg_id: unknown) => readonly string[])[] = [
        // No envelope, and none of the keys that may be missing.
        (_msg_id) => [JSON.stringify({ result, ending: true, _msg_id })],
        // Two parts, as old servers send them.
        (_msg_id) =>
          [
            { result, ending: false },
            { result: null, ending: true },
          ].map((part) => encode(part, _msg_id)),
        // Signs of life before, and after, as servers with upstream's fault send them.
        (_msg_id) =>
          [{ ending: false }, { result, ending: true }, { ending: false }].map((part) => encode(part, _msg_id)),
        // Late, repeated, unknown to us, and with keys of their own.
        (_msg_id) => [
          encode({ result: { text: 'stray' }, ending: true }, 'f'.repeat(32)),
          encode({ result, ending: true, log_failure: false, _other: 1 }, _msg_id),
          encode({ result: { text: 'second' }, ending: true }, _msg_id),
        ],
      ]
      const encode = (part: object, _msg_id: unknown) =>
        encodeEnvelope({ result: null, failure: null, ...part, _msg_id })

      for (const form of forms) expect(await ask(({ _msg_id }) => form(_msg_id))).toEqual(result)
    })

    it('turns what a server of another make answers into our errors', async () => {
      const ask = await withAnswers(await openEcho())
      const failing = (failure: unknown) => (request: JsonObject) =>
        encodeEnvelope({ result: null, failure: JSON.stringify(failure), ending: true, _msg_id: request._msg_id })

      const dispatcher = 'oslo_messaging.rpc.dispatcher'
      expect(await ask(failing({ class: 'NoSuchMethod', module: dispatcher, message: 'no' }))).toEqual(
        new NoSuchMethod('no'),
      )
      expect(await ask(failing({ class: 'UnsupportedVersion', module: dispatcher, message: 'no' }))).toEqual(
        new UnsupportedVersion('no'),
      )
      expect(await ask(failing({ class: 'KeyError', module: 'builtins', message: "'x'", tb: ['T\n'] }))).toMatchObject({
        code: 'REMOTE_ERROR',
        details: { exc_type: 'KeyError', module: 'builtins', traceback: ['T\n'] },
      })
      // A failure that is no text, as it should be.
      const failure = { class: 'KeyError', message: 'x' }
      expect(await ask(({ _msg_id }) => encodeEnvelope({ failure, ending: true, _msg_id }))).toBeInstanceOf(RemoteError)
      const unreadable = ({ _msg_id }: JsonObject) =>
        JSON.stringify({
          'oslo.version': '2.0',
          'oslo.message': `{"result": NaN, "_msg_id": "${_msg_id}", "ending": true}`,
        })
      expect(await ask(unreadable)).toBeInstanceOf(InvalidMessage)
      expect(
        await ask(({ _msg_id }) => encodeEnvelope({ result: { n: 1 }, failure: null, ending: true, _msg_id })),
      ).toBeInstanceOf(RemoteError)
    })

    it('ends calls that wait when the client is closed', async () => {
      const { serve, client, rpc } = await openEcho()
      const waiting = gate()
      const started = gate()
      onTestFinished(waiting.open)
      await serve({
        say: async ({ text }) => {
          started.open()
          await waiting.opened
          return { text }
        },
      })

      const answer = client.say(context, { text: '' })
      answer.catch(() => {})
      await started.opened
      await rpc.close()

      await expect(answer).rejects.toThrow(ServiceStopping)
    })

    it('refuses a call to every server at once', async () => {
      const { client } = await openEcho()

      await expect(client.say(context, { text: '' }, { fanout: true })).rejects.toThrow(InvalidArguments)
    })
  })

  describe('casts', () => {
    it('gives a cast to one server, a directed one to its server, a fanout to all', async () => {
      const { serve, client } = await openEcho()
      const notes: string[] = []
      const note = (server: string) => ({
        note: async ({ text }: z.infer<typeof Text>) => {
          notes.push(`${server}: ${text}`)
        },
      })
      await serve(note('node1'), { server: 'node1' })
      await serve(note('node2'), { server: 'node2' })

      await client.note(context, { text: 'directed' }, { server: 'node2' })
      await client.note(context, { text: 'all' }, { fanout: true })

      await vi.waitFor(() => expect(notes.toSorted()).toEqual(['node1: all', 'node2: all', 'node2: directed']))
    })

    it('gives a server that is only there by its name nothing else, and what it is sent to one of those that share the name', async () => {
      const { serve, client } = await openEcho()
      const notes: string[] = []
      const note = (server: string) => ({
        note: async ({ text }: z.infer<typeof Text>) => {
          notes.push(`${server}: ${text}`)
        },
      })
      await serve(note('any'), { server: 'node1' })
      for (const _ of [1, 2]) await serve(note('by name'), { server: '_notes', isOnlyByName: true })

      for (const _ of [1, 2, 3, 4]) await client.note(context, { text: 'to one' })
      await client.note(context, { text: 'to all' }, { fanout: true })
      await client.note(context, { text: 'directed' }, { server: '_notes' })

      const expected = [...Array(4).fill('any: to one'), 'any: to all', 'by name: directed'].toSorted()
      await vi.waitFor(() => expect(notes.toSorted()).toEqual(expected))
    })

    it('does a stored cast at hand while a hand for that is free, beside what comes by the broker, and a repeat that comes by it not again', async () => {
      const { serve, rpc, transport } = await openEcho()
      const noted: string[] = []
      let finish: () => void = () => {}
      const note = async ({ text }: { text: string }) => {
        noted.push(text)
        if (text === 'slow') await new Promise<void>((resolve) => (finish = resolve))
        if (text === 'bad') throw new SpawnFailed('no')
      }
      const { server } = await serve({ note }, { concurrency: 1 })
      const stored = (text: string, to = {}) =>
        rpc.message(EchoApi, 'note', context, { text }, { orderingKey: 'k', ...to })

      await rpc.of(EchoApi).note(context, { text: 'slow' })
      await vi.waitFor(() => expect(noted).toEqual(['slow']))
      await server.doAtHand(stored('beside it'))
      finish()
      const slow = server.doAtHand(stored('slow'))
      expect(server.doAtHand(stored('no hand is free'))).toBeUndefined()
      finish()
      await slow
      await expect(server.doAtHand(stored('bad'))).rejects.toThrow(SpawnFailed)
      expect(server.doAtHand(stored('for another', { server: 'node2' }))).toBeUndefined()
      const twice = stored('once')
      await server.doAtHand(twice)
      await transport.publish(twice.to, twice)
      await rpc.of(EchoApi).note(context, { text: 'last' })

      await vi.waitFor(() => expect(noted.at(-1)).toBe('last'))
      expect(noted).toEqual(['slow', 'beside it', 'slow', 'bad', 'once', 'last'])
      await server.drain(1000)
      expect(server.doAtHand(stored('after the end'))).toBeUndefined()
    })

    it('drops a fanout that nobody serves', async () => {
      const { client } = await openEcho()

      await client.note(context, { text: 'all' }, { fanout: true })
    })

    it('tries a cast again when it failed for a reason that may pass', async () => {
      const { serve, client, parked } = await openEcho()
      const tries: string[] = []
      await serve({
        note: async ({ text }) => {
          tries.push(text)
          if (tries.length === 1) throw new SpawnFailed('not now')
          if (tries.length === 2) throw new TypeError('an accident')
        },
      })

      await client.note(context, { text: 'build' })

      await vi.waitFor(() => expect(tries).toEqual(['build', 'build', 'build']))
      expect(parked()).toEqual([])
    })

    it('keeps a cast as long as an outage lasts, and counts no try of it', async () => {
      const { serve, client, parked } = await openEcho()
      const tries: string[] = []
      await serve(
        {
          note: async ({ text }) => {
            tries.push(text)
            if (tries.length < 5) throw new DatabaseUnavailable('the database is away')
          },
        },
        { maxDeliveries: 2 },
      )

      await client.note(context, { text: 'report' })

      await vi.waitFor(() => expect(tries).toHaveLength(5))
      expect(parked()).toEqual([])
    })

    it('drops a transient cast that fails, whatever the reason: tried later it would tell of the past', async () => {
      const { serve, client, anyServer, transport, parked } = await openEcho()
      const tries: string[] = []
      const failures = [new DatabaseUnavailable('away'), new SpawnFailed('not now'), new TypeError('an accident')]
      await serve({
        beat: async ({ text }) => {
          tries.push(text)
          const failure = failures.shift()
          if (failure) throw failure
        },
      })

      for (const text of ['1', '2', '3']) await client.beat(context, { text })
      const malformed = { method: 'beat', version: '1.2', args: { nonsense: 1 }, _unique_id: 'u-malformed' }
      await transport.publish(anyServer, { body: encodeEnvelope(malformed), mandatory: true })
      await client.beat(context, { text: '4' })

      await vi.waitFor(() => expect(tries).toEqual(['1', '2', '3', '4']))
      expect(parked()).toEqual([])
    })

    it('drops a cast that waited for a server longer than it is of use', async () => {
      const { serve, client } = await openEcho()
      const notes: string[] = []
      const note = async ({ text }: { text: string }) => void notes.push(text)
      const { server } = await serve({ note })
      await server.drain(0)

      await client.note(context, { text: 'stale' }, { expirationMs: 1 })
      await client.note(context, { text: 'fresh' }, { expirationMs: 60_000 })
      await new Promise((resolve) => setTimeout(resolve, 20))
      await serve({ note })

      await vi.waitFor(() => expect(notes).toEqual(['fresh']))
    })

    it('parks a cast that fails for good, at once or after the last try, with where it came from and why', async () => {
      const { serve, client, parked, letters, topic } = await openEcho()
      const tries: string[] = []
      await serve(
        {
          note: async ({ text }) => {
            tries.push(text)
            throw text === 'hopeless' ? new NoValidHost('never') : new SpawnFailed('not now')
          },
        },
        { maxDeliveries: 3 },
      )

      await client.note(context, { text: 'hopeless' })
      await vi.waitFor(() => expect(parked()).toEqual(['NO_VALID_HOST']))
      await client.note(context, { text: 'unlucky' })
      await vi.waitFor(() => expect(parked()).toEqual(['NO_VALID_HOST', 'SPAWN_FAILED']))

      expect(tries).toEqual(['hopeless', 'unlucky', 'unlucky', 'unlucky'])
      expect(letters[0]?.headers).toMatchObject({ 'x-sevbus-from': topic, 'x-sevbus-error': 'never' })
      const [letter] = letters as [Delivery]
      expect(decodeEnvelope(letter.body, letter.contentType)).toMatchObject({
        method: 'note',
        args: { text: 'hopeless' },
      })
    })

    it('delivers a cast again when its server died with it', async () => {
      const { serve, client } = await openEcho()
      const started = gate()
      const { transport: dying } = await serve({
        note: async () => {
          started.open()
          await new Promise(() => {})
        },
      })
      await client.note(context, { text: 'work' })
      await started.opened

      await dying.close()
      const notes: string[] = []
      await serve({
        note: async ({ text }) => {
          notes.push(text)
        },
      })

      await vi.waitFor(() => expect(notes).toEqual(['work']))
    })

    it('does a call only once although its server died with it', async () => {
      const { serve, client } = await openEcho()
      const started = gate()
      const { transport: dying } = await serve({
        say: async () => {
          started.open()
          return await new Promise(() => {})
        },
      })
      const caller = new AbortController()
      const first = client.say(context, { text: 'once' }, { signal: caller.signal })
      first.catch(() => {})
      await started.opened

      await dying.close()
      const said: string[] = []
      await serve({
        say: async ({ text }) => {
          said.push(text)
          return { text }
        },
      })
      await client.say(context, { text: 'other' })
      caller.abort(new Error('waited long enough'))

      await expect(first).rejects.toThrow('waited long enough')
      expect(said).toEqual(['other'])
    })

    it('does a cast once that was sent twice with the same ids, even while the first is being done', async () => {
      const { serve, rpc, transport } = await openEcho()
      const notes: string[] = []
      const waiting = gate()
      await serve({
        note: async ({ text }) => {
          notes.push(text)
          await waiting.opened
        },
      })
      const message = rpc.message(EchoApi, 'note', context, { text: 'once' }, { orderingKey: 'i-1' })

      for (let sent = 0; sent < 3; sent++) await transport.publish(message.to, message)
      await vi.waitFor(() => expect(notes).toEqual(['once']))
      waiting.open()
      await transport.publish(message.to, message)
      const last = rpc.message(EchoApi, 'note', context, { text: 'last' }, { orderingKey: 'i-1' })
      await transport.publish(last.to, last)

      await vi.waitFor(() => expect(notes).toEqual(['once', 'last']))
    })

    it('parks what has been delivered so often without an end that it may be what kills its workers', async () => {
      const { serve, client, anyServer, transport, parked, bus } = await openEcho()
      const notes: string[] = []
      const { exchange } = bus.names
      let crashes = 0
      await new Promise<void>((resolve) => {
        void transport
          .listen(
            { ...anyServer, kind: 'server', exchange, server: 'crashing' },
            (delivery) => {
              if (crashes++ === 15) resolve()
              else delivery.requeue()
            },
            { prefetch: 1 },
          )
          .then(async (listener) => {
            await client.note(context, { text: 'poison' })
            await vi.waitFor(() => expect(crashes).toBe(16), { timeout: 10_000 })
            await listener.close()
          })
      })
      await serve({
        note: async ({ text }) => {
          notes.push(text)
        },
      })

      await vi.waitFor(() => expect(parked()).toEqual(['INTERNAL_ERROR']), { timeout: 10_000 })
      expect(notes).toEqual([])
    })
  })

  describe('pause', () => {
    it('finishes what runs, takes nothing, and goes on with what waits when it is started again', async () => {
      const { serve, client, transport, topic } = await openEcho()
      const [started, waiting] = [gate(), gate()]
      const noted: string[] = []
      const { server } = await serve({
        note: async ({ text }) => {
          started.open()
          await waiting.opened
          noted.push(text)
        },
      })
      await client.note(context, { text: 'running' }, { server: 'node1' })
      await started.opened

      const paused = server.pause()
      expect(server.isServing).toBe(false)
      waiting.open()
      await paused
      await client.note(context, { text: 'waiting' }, { server: 'node1' })
      expect(noted).toEqual(['running'])
      expect(await transport.inspect(`${topic}.node1`)).toMatchObject({ consumers: 0 })
      await server.start()

      await vi.waitFor(() => expect(noted).toEqual(['running', 'waiting']))
      expect(server.isServing).toBe(true)
    })

    it('gives back what does not end, and ends when it is drained', async () => {
      const { serve, client } = await openEcho()
      const [started, waiting] = [gate(), gate()]
      const { server } = await serve({
        note: async () => {
          started.open()
          await waiting.opened
        },
      })
      await client.note(context, { text: 'long' })
      await started.opened

      await server.pause()
      const noted: string[] = []
      await serve({ note: async ({ text }) => void noted.push(text) }, { server: 'node2' })

      await vi.waitFor(() => expect(noted).toEqual(['long']), { timeout: 10_000 })
      waiting.open()
      await server.drain(1000)
      expect(server.isServing).toBe(false)
    })
  })

  describe('drain', () => {
    it('finishes and answers what runs, and takes nothing new', async () => {
      const { serve, client, transport, anyServer } = await openEcho()
      const [started, waiting] = [gate(), gate()]
      const noted: string[] = []
      const { server } = await serve(
        {
          say: async ({ text }) => {
            started.open()
            await waiting.opened
            return { text }
          },
          note: async ({ text }) => {
            noted.push(text)
          },
        },
        { concurrency: 1 },
      )
      const answer = client.say(context, { text: 'running' })
      await started.opened

      const drained = server.drain(10_000)
      expect(server.drain(10_000)).toBe(drained)
      await client.note(context, { text: 'too late' })
      waiting.open()

      expect(await answer).toEqual({ text: 'running' })
      await drained
      expect(noted).toEqual([])
      const left: string[] = []
      await transport.listen(
        { ...anyServer, kind: 'server', server: 'node2' },
        (delivery) => {
          left.push(delivery.body.toString())
          delivery.ack()
        },
        { prefetch: 1 },
      )
      await vi.waitFor(() => expect(left).toEqual([expect.stringContaining('too late')]))
    })

    it('tells work to stop when the grace is over; its casts go to another server, its calls are told', async () => {
      const { serve, client } = await openEcho()
      const running: string[] = []
      const untilAborted = async (text: string, { signal }: RequestInfo): Promise<never> => {
        running.push(text)
        return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      }
      const { server } = await serve({
        say: ({ text }, request) => untilAborted(text, request),
        note: ({ text }, request) => untilAborted(text, request),
      })
      const answer = client.say(context, { text: 'call' })
      answer.catch(() => {})
      await client.note(context, { text: 'cast' })
      await vi.waitFor(() => expect(running.toSorted()).toEqual(['call', 'cast']))

      await server.drain(10)
      const notes: string[] = []
      await serve({
        note: async ({ text }) => {
          notes.push(text)
        },
      })

      await expect(answer).rejects.toThrow(ServiceStopping)
      await vi.waitFor(() => expect(notes).toEqual(['cast']))
    })
  })

  describe('hostile messages', () => {
    it.each([
      ['no JSON', 'hello'],
      ['a list', '[1]'],
      ['a string for an object', '"x"'],
      ['another version of the envelope', '{"oslo.version": "3.0", "oslo.message": "{}"}'],
      ['an inner message that is no string', '{"oslo.version": "2.0", "oslo.message": {}}'],
      ['no method', encodeEnvelope({ args: {} })],
      ['a method that is no string', encodeEnvelope({ method: ['say'] })],
      ['arguments that are no object', encodeEnvelope({ method: 'note', args: [1] })],
      ['a version of megabytes', encodeEnvelope({ method: 'note', version: '1'.repeat(1_000_000) })],
      ['a wrong context', encodeEnvelope({ method: 'note', args: { text: 'x' }, _context_request_id: 7 })],
      ['an unknown method', encodeEnvelope({ method: 'sing', args: {} })],
      ['a prototype key', '{"method": "note", "args": {"__proto__": {"text": "x"}}}'],
      ['bottomless nesting', `{"method": "note", "args": ${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`],
      ['an integer beyond 2^53', '{"method": "note", "args": {"text": 9007199254740993}}'],
      ['NaN', '{"method": "note", "args": {"text": NaN}}'],
      ['ten megabytes', JSON.stringify({ method: 'note', args: { text: 'x'.repeat(10_000_000) } })],
      [
        'a reply queue that nothing can be called',
        encodeEnvelope({ method: 'say', _msg_id: 'a', _reply_q: 'q'.repeat(300) }),
      ],
    ])('parks %s, and loses no neighbour', async (_, body) => {
      const { serve, client, transport, anyServer, parked, letters } = await openEcho()
      const notes: string[] = []
      await serve({
        note: async ({ text }) => {
          notes.push(text)
        },
      })

      await client.note(context, { text: 'before' })
      await transport.publish(anyServer, { body, mandatory: true })
      await client.note(context, { text: 'after' })

      await vi.waitFor(
        () => expect([notes.toSorted(), parked()]).toEqual([['after', 'before'], [expect.any(String)]]),
        {
          timeout: 10_000,
        },
      )
      expect(letters[0]?.body.equals(Buffer.from(body))).toBe(true)
      expect(await client.say(context, { text: 'alive' })).toEqual({ text: 'alive' })
    })

    it('tells a caller at once what was wrong with a call, even where it cannot be parsed', async () => {
      const { serve, ask, askRaw } = await withRawCalls(await openEcho())
      await serve({})

      const broken = [
        await ask({ method: 7 }),
        await ask({ method: 'say', args: 'text' }),
        await ask({ method: 'say', version: 1 }),
        await ask({ method: 'say', args: { text: 'x' }, _context_request_id: 7 }),
        await askRaw((address) => `{"method": "say", "args": {"text": NaN}, ${address}}`),
        await askRaw((address) => `{"method": "say", "args": {"text": 123456789012345678901234567890}, ${address}}`),
        await askRaw((address) => `{"method": "say", "args": {"text": "${'x'.repeat(5_000_000)}"}, ${address}}`),
      ]

      expect(broken.map((reply) => failureOf(reply).kwargs)).toEqual(
        broken.map(() => expect.objectContaining({ error_code: 'INVALID_MESSAGE' })),
      )
    })
  })
})

const echo: Endpoint<typeof EchoApi> = {
  say: async ({ text }) => ({ text }),
  count: async () => ({ n: 1 }),
  note: async () => {},
  beat: async () => {},
}

interface Failure {
  readonly kwargs: Record<string, unknown>
}

function failureOf(reply: JsonObject): Failure {
  expect(reply).toMatchObject({ result: null, failure: expect.any(String), ending: true })
  return JSON.parse(String(reply.failure)) as Failure
}

/** Speaks as a client that is not ours: any body, and the reply as it comes. */
async function withRawCalls<
  T extends { transport: Transport; anyServer: { kind: 'topic'; exchange: string; topic: string } },
>(opened: T) {
  const { transport, anyServer } = opened
  const queue = `${anyServer.topic}_raw_reply`
  const waiting = new Map<unknown, (reply: JsonObject) => void>()
  await transport.listen(
    { kind: 'reply', queue },
    (delivery) => {
      delivery.ack()
      const reply = decodeEnvelope(delivery.body, delivery.contentType)
      waiting.get(reply._msg_id)?.(reply)
    },
    { prefetch: 0 },
  )
  const send = (msgId: string, body: string) =>
    new Promise<JsonObject>((resolve, reject) => {
      waiting.set(msgId, resolve)
      transport.publish(anyServer, { body, mandatory: true }).catch(reject)
    })
  let asked = 0
  return {
    ...opened,
    ask: (message: JsonObject) => {
      const msgId = `raw-${++asked}`
      return send(msgId, encodeEnvelope({ ...message, _msg_id: msgId, _reply_q: queue }))
    },
    askRaw: (body: (address: string) => string) => {
      const msgId = `raw-${++asked}`
      return send(msgId, body(`"_msg_id": "${msgId}", "_reply_q": "${queue}"`))
    },
  }
}

/** A door that is opened once. */
function gate() {
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open: () => open(), opened }
}
