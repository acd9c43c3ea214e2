import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { InstanceNotFound, NoValidHost } from '../../src/errors.ts'
import { call, cast, defineApi, type Endpoint } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { deadLetterQueue } from '../../src/rpc/names.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { deleteQueues, eventually, OsloBus, TOPOLOGIES } from './oslo-bus.ts'
import { canRunPeers, type Outcome, PythonPeer } from './python-peer.ts'

const anything = { since: '1.0', summary: 'For the peers.', output: z.unknown() }

const EchoApi = defineApi({
  service: 'echo',
  version: '1.5',
  methods: {
    echo: call({ ...anything, wire: 'echo', input: z.looseObject({}) }),
    nothing: call({ ...anything, wire: 'nothing', input: z.object({}) }),
    number: call({ ...anything, wire: 'number', input: z.object({ power: z.number() }) }),
    fail: call({ ...anything, wire: 'fail', input: z.object({ how: z.string() }) }),
    sleep: call({ ...anything, wire: 'sleep', input: z.object({ ms: z.number() }) }),
    note: cast({ ...anything, wire: 'note', input: z.looseObject({}) }),
  },
})

const BeingsApi = defineApi({
  service: 'echo',
  namespace: 'beings',
  version: '3.0',
  methods: { name: call({ ...anything, wire: 'name', input: z.object({}) }) },
})

describe.runIf(canRunPeers())('a Python client', () => {
  let python: PythonPeer
  beforeAll(async () => {
    python = await PythonPeer.start('rpc_client.py')
  })
  afterAll(async () => {
    await deleteQueues((await python.do('reply_queues')) as string[])
    await python.end()
  })

  describe.concurrent.each(TOPOLOGIES)('and our server, topology $topology', (place) => {
    const noted: { readonly server: string; readonly id: unknown }[] = []
    const letters: Delivery[] = []
    const asleep: string[] = []
    let bus: OsloBus

    const echo = (server: string): Endpoint<typeof EchoApi> => ({
      echo: async (args, { context }) => ({ args, context, server }),
      nothing: async () => undefined,
      number: async ({ power }) => 2 ** power,
      fail: async ({ how }) => {
        if (how === 'known') throw new NoValidHost('No valid host was found.', { count: 0, rejected: ['h1'] })
        if (how === 'large') throw new InstanceNotFound('gone', { size: 2 ** 60 })
        throw new TypeError('a defect')
      },
      sleep: async ({ ms }, { context }) => {
        asleep.push(context.request_id)
        await new Promise((resolve) => setTimeout(resolve, ms))
        return 'slept'
      },
      note: async ({ id }) => void noted.push({ server, id }),
    })

    beforeAll(async () => {
      bus = new OsloBus(place)
      const beings = bind(BeingsApi, { name: async () => 'named' })
      await bus.serve('node1', bind(EchoApi, echo('node1')), beings)
      await bus.serve('node2.example.org', bind(EchoApi, echo('node2.example.org')), beings)
      const source = { kind: 'queue', queue: deadLetterQueue(bus.names) } as const
      await (await bus.connect()).listen(source, (letter) => letters.push(letter), { prefetch: 0 })
    })
    afterAll(() => bus[Symbol.asyncDispose]())

    const facts = (method: string, more: object = {}) => ({
      ...{ url: bus.url(), exchange: bus.names.exchange, topic: bus.topic('echo'), timeout: 25, method },
      ...more,
    })
    const ask = (method: string, more?: object): Promise<Outcome> => python.try('call', facts(method, more))
    const tell = (method: string, more?: object): Promise<unknown> => python.do('cast', facts(method, more))

    it('gets results back as they are, and the endpoint arguments and context as they were', async () => {
      const args = {
        text: 'größe ☃ 𝄞',
        list: [1, -2.5, null, true],
        nested: { a: { b: [] }, empty: {} },
        nothing: null,
      }
      const context = { request_id: 'req-1', user_id: 'u-1', roles: ['admin'], deep: { x: null }, auth_token: 's3cret' }

      const outcome = await ask('echo', { args, context, server: 'node1' })

      expect(outcome).toEqual({ result: { args, context, server: 'node1' } })
    })

    it('gets None for no result, and an endpoint a request id where the client has none', async () => {
      expect(await ask('nothing')).toEqual({ result: null })
      expect(await ask('echo')).toMatchObject({ result: { args: {}, context: { request_id: expect.any(String) } } })
    })

    it('reaches the server that it names, and only that one', async () => {
      for (const server of ['node1', 'node2.example.org', 'node2.example.org', 'node1']) {
        expect(await ask('echo', { server })).toMatchObject({ result: { server } })
      }
    })

    it('reaches one server with a cast, and all with a fanout', async () => {
      await tell('note', { args: { id: 'cast' } })
      await tell('note', { args: { id: 'directed' }, server: 'node1' })
      await tell('note', { args: { id: 'fanout' }, fanout: true })

      const of = (wanted: string) => noted.filter(({ id }) => id === wanted).map(({ server }) => server)
      await eventually(() => {
        expect(of('cast')).toHaveLength(1)
        expect(of('directed')).toEqual(['node1'])
        expect(of('fanout').toSorted()).toEqual(['node1', 'node2.example.org'])
      })
    })

    it('may call what is a cast here, and cast what is a call', async () => {
      expect(await ask('note', { args: { id: 'called' } })).toEqual({ result: null })
      await tell('echo', { args: { id: 'not asked for' }, server: 'node1' })
      expect(await ask('nothing', { server: 'node1' })).toEqual({ result: null })

      await eventually(() => expect(noted.filter(({ id }) => id === 'called')).toHaveLength(1))
    })

    it("gets our errors' class and kwargs where it knows the module, and RemoteError with class and text elsewhere", async () => {
      const nova = { allowed_remote_exmods: ['nova.exception'] }
      const text = 'No valid host was found.'

      expect(await ask('fail', { ...nova, args: { how: 'known' } })).toEqual({
        error: {
          class: 'NoValidHost_Remote',
          module: 'nova.exception_Remote',
          bases: ['NoValidHost_Remote', 'NoValidHost', 'NovaException', 'Exception', 'BaseException', 'object'],
          text: `${text}\nnova.exception.NoValidHost: ${text}\n`,
          kwargs: { count: 0, rejected: ['h1'], error_code: 'NO_VALID_HOST' },
        },
      })
      expect(await ask('fail', { args: { how: 'known' } })).toMatchObject({
        error: { class: 'RemoteError', exc_type: 'NoValidHost', value: text },
      })
      // Facts that JSON cannot carry are left out, and the error is the same.
      expect(await ask('fail', { ...nova, args: { how: 'large' } })).toMatchObject({
        error: { class: 'InstanceNotFound_Remote', kwargs: { error_code: 'INSTANCE_NOT_FOUND' } },
      })
      expect(await ask('fail', { ...nova, args: { how: 'defect' } })).toMatchObject({
        error: { class: 'RemoteError', exc_type: 'InternalError', value: 'TypeError: a defect' },
      })
      expect(await ask('fail', { args: { what: 'unknown argument' } })).toMatchObject({
        error: { class: 'RemoteError', exc_type: 'InvalidArguments', value: expect.stringContaining('how') },
      })
    })

    it.each(['1.0', '1.5', '1.4.9', undefined])('is served version %s by 1.5', async (version) => {
      expect(await ask('nothing', { version })).toEqual({ result: null })
    })

    it.each(['1.6', '1.5.1', '2.0', '0.9'])('is told that version %s is not supported', async (version) => {
      expect(await ask('nothing', { version })).toMatchObject({
        error: {
          class: 'RemoteError',
          exc_type: 'UnsupportedVersion',
          value: `Endpoint does not support RPC version ${version}. Attempted method: nothing`,
        },
      })
    })

    it('is served by namespace, where none is one of them', async () => {
      const beings = { namespace: 'beings', version: '3.0' }

      expect(await ask('name', beings)).toEqual({ result: 'named' })
      expect(await ask('echo', beings)).toMatchObject({
        error: { exc_type: 'NoSuchMethod', value: 'Endpoint does not support RPC method echo' },
      })
      expect(await ask('name', { version: '3.0' })).toMatchObject({
        error: { value: 'Endpoint does not support RPC version 3.0. Attempted method: name' },
      })
      expect(await ask('name', { namespace: 'others' })).toMatchObject({
        error: { value: 'Endpoint does not support RPC version 1.0. Attempted method: name' },
      })
    })

    it("rebuilds oslo.messaging's own errors", async () => {
      const exmods = { allowed_remote_exmods: ['oslo_messaging.rpc.dispatcher'] }

      expect(await ask('sing', exmods)).toMatchObject({
        error: {
          class: 'NoSuchMethod_Remote',
          text: expect.stringMatching(/^Endpoint does not support RPC method sing\n/),
        },
      })
    })

    it('finds servers alive by oslo_rpc_server_ping', async () => {
      expect(await ask('oslo_rpc_server_ping')).toEqual({ result: 'pong' })
      expect(await ask('oslo_rpc_server_ping', { server: 'node1' })).toEqual({ result: 'pong' })
    })

    it.each(["float('nan')", "float('-inf')", '2**60', '-(10**30)', "{'deep': [2**53]}", "'x' * 5_000_000"])(
      'is told at once that an argument cannot be carried: %s',
      async (value) => {
        expect(await ask('echo', { args_python: `{'n': ${value}}` })).toMatchObject({
          error: { class: 'RemoteError', exc_type: 'InvalidMessage' },
        })
      },
    )

    it.each([
      ['2^60', 60],
      ['infinite', 5000],
    ])('is told at once that a result is %s', async (_, power) => {
      expect(await ask('number', { args: { power } })).toMatchObject({
        error: { class: 'RemoteError', exc_type: 'UnserializableValue' },
      })
    })

    it('sends numbers to the last that a double tells apart', async () => {
      const args_python = '{"n": [2**53 - 1, -(2**53 - 1), 0.1, 1e-7, -0.0, 12345.678]}'

      const outcome = await ask('echo', { args_python, server: 'node1' })

      expect(outcome).toMatchObject({
        result: { args: { n: [9007199254740991, -9007199254740991, 0.1, 1e-7, 0, 12345.678] } },
      })
    })

    it('casts what cannot be carried into the dead letters', async () => {
      await tell('note', { args_python: "{'id': 'lost', 'n': float('nan')}" })

      await eventually(() => {
        const reasons = letters.map(({ headers }) => headers['x-sevbus-error-code'])
        expect(reasons).toEqual(['INVALID_MESSAGE'])
      })
    })

    it('may compress', async () => {
      const args = { text: 'x'.repeat(10_000) }

      const outcome = await ask('echo', { url: bus.url('kombu_compression=gzip'), args })

      expect(outcome).toMatchObject({ result: { args } })
    })

    it('waits as long as the server shows signs of life', async () => {
      expect(await ask('sleep', { args: { ms: 3_500 }, call_monitor_timeout: 2 })).toEqual({ result: 'slept' })
      expect(await ask('sing', { call_monitor_timeout: 2 })).toMatchObject({ error: { exc_type: 'NoSuchMethod' } })
    })

    it('hears within its monitor time that the server is gone', async () => {
      const { transport } = await bus.serve('victim', bind(EchoApi, echo('victim')))
      const context = { request_id: 'req-victim' }
      const started = performance.now()

      const outcome = ask('sleep', { server: 'victim', args: { ms: 60_000 }, call_monitor_timeout: 2, context })
      await eventually(() => expect(asleep).toContain('req-victim'))
      await transport.close()

      expect(await outcome).toMatchObject({ error: { class: 'MessagingTimeout' } })
      expect(performance.now() - started).toBeLessThan(15_000)
    })

    it('times out, and is not disturbed by the answer that comes later', async () => {
      expect(await ask('sleep', { args: { ms: 1_500 }, timeout: 1 })).toMatchObject({
        error: { class: 'MessagingTimeout' },
      })
      expect(await ask('sleep', { args: { ms: 1_000 } })).toEqual({ result: 'slept' })
    })

    it('gets its answer although its reply queue was deleted meanwhile', async () => {
      // A connection of its own, because what is lost takes all calls of a transport with it.
      const url = bus.url('rabbit_retry_interval=1')
      expect(await ask('nothing', { url })).toEqual({ result: null })

      const outcome = ask('sleep', { url, args: { ms: 1_000 }, context: { request_id: 'req-deleted' } })
      await eventually(() => expect(asleep).toContain('req-deleted'))
      await deleteQueues((await python.do('reply_queues', { url })) as string[])

      expect(await outcome).toEqual({ result: 'slept' })
    })
  })
})
