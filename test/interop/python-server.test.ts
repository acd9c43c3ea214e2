import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  InstanceNotFound,
  InvalidMessage,
  MessagingTimeout,
  NoSuchMethod,
  NoSuchServer,
  RemoteError,
  UnserializableValue,
  UnsupportedVersion,
} from '../../src/errors.ts'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { pingApiOf } from '../../src/rpc/ping.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { deleteQueues, eventually, OsloBus, TOPOLOGIES } from './oslo-bus.ts'
import { canRunPeers, PythonPeer } from './python-peer.ts'

const any = { since: '1.0', summary: 'Of the peers.', input: z.looseObject({}), output: z.unknown() }
const seconds = z.object({ seconds: z.number() })

const PlainApi = defineApi({
  service: 'peer',
  version: '1.0',
  methods: {
    echo: call({ ...any, wire: 'echo' }),
    nothing: call({ ...any, wire: 'nothing' }),
    evaluate: call({ ...any, wire: 'evaluate' }),
    failBuiltin: call({ ...any, wire: 'fail_builtin' }),
    failOfNova: call({ ...any, wire: 'fail_of_nova' }),
    failLarge: call({ ...any, wire: 'fail_large' }),
    failUnheard: call({ ...any, wire: 'fail_unheard' }),
    unknown: call({ ...any, wire: 'unknown' }),
    private: call({ ...any, wire: '_private' }),
    sleep: call({ ...any, wire: 'sleep', input: seconds }),
    sleepWatched: call({ ...any, wire: 'sleep', input: seconds, monitorTimeoutMs: 2_000 }),
    unknownWatched: call({ ...any, wire: 'unknown', monitorTimeoutMs: 2_000 }),
    later: call({ ...any, wire: 'echo', since: '1.1' }),
    note: cast({ ...any, wire: 'note' }),
    noteUnknown: cast({ ...any, wire: 'unknown' }),
  },
})

function versionedApi(since: string) {
  const methods = { versioned: call({ ...any, wire: 'versioned', since }) }
  return defineApi({ service: 'peer', version: since, methods })
}

function namedApi(namespace: string | undefined, wire = 'name') {
  const methods = { name: call({ ...any, wire }) }
  return defineApi({ service: 'peer', version: '1.0', methods, ...(namespace !== undefined && { namespace }) })
}

const context = newRequestContext({ user_id: 'u-1' })

describe.runIf(canRunPeers())('a Python server', () => {
  let python: PythonPeer
  beforeAll(async () => {
    python = await PythonPeer.start('rpc_server.py')
  })
  afterAll(() => python.end())

  describe.concurrent.each(TOPOLOGIES)('and our client, topology $topology', (place) => {
    let bus: OsloBus
    let client: Awaited<ReturnType<OsloBus['client']>>['client']
    const peer = () => client.of(PlainApi)
    /** Names of the servers that were told something, once there are so many. */
    const told = (id: string, count: number) =>
      python.eventually((events) => {
        const of = events.filter(({ event, args }) => event === 'noted' && (args as { id: string }).id === id)
        expect(of).toHaveLength(count)
        return of.map(({ server }) => server as string).toSorted()
      })
    const asleep = (request_id: string) =>
      python.eventually((events) => {
        const of = events.filter(({ event, context }) => event === 'sleeping' && contains(context, request_id))
        expect(of).toHaveLength(1)
      })

    beforeAll(async () => {
      bus = new OsloBus(place)
      for (const server of ['peer1', 'peer2.example.org']) {
        await python.do('start', { url: bus.url(), ...bus.peerServes(PlainApi, server) })
      }
      client = (await bus.client()).client
    })
    afterAll(async () => {
      await Promise.all(['peer', 'shared'].map((service) => python.do('stop', { topic: bus.topic(service) })))
      await bus[Symbol.asyncDispose]()
    })

    it('gives results as they are, and its endpoints get arguments and context as they were', async () => {
      const args = {
        text: 'größe ☃ 𝄞',
        list: [1, -2.5, null, true],
        nested: { a: { b: [] }, empty: {} },
        nothing: null,
      }
      const mine = { ...context, roles: ['admin'], deep: { x: null }, auth_token: 's3cret' }

      const result = await peer().echo(mine, args, { server: 'peer1' })

      // oslo.messaging adds the monitor's time to every context.
      expect(result).toEqual({ args, context: { ...mine, client_timeout: null }, server: 'peer1' })
    })

    it('gives null for None', async () => {
      expect(await peer().nothing(context, {})).toBeNull()
    })

    it('is reached by its name', async () => {
      for (const server of ['peer1', 'peer2.example.org', 'peer2.example.org', 'peer1']) {
        expect(await peer().echo(context, {}, { server })).toMatchObject({ server })
      }
      await expect(peer().echo(context, {}, { server: 'nowhere' })).rejects.toThrow(NoSuchServer)
    })

    it('is told by a cast, and all of them by a fanout', async () => {
      await peer().note(context, { id: `cast ${bus.names.exchange}` })
      await peer().note(context, { id: `directed ${bus.names.exchange}` }, { server: 'peer1' })
      await peer().note(context, { id: `fanout ${bus.names.exchange}` }, { fanout: true })
      await peer().noteUnknown(context, {})

      expect(await told(`cast ${bus.names.exchange}`, 1)).toHaveLength(1)
      expect(await told(`directed ${bus.names.exchange}`, 1)).toEqual(['peer1'])
      expect(await told(`fanout ${bus.names.exchange}`, 2)).toEqual(['peer1', 'peer2.example.org'])
    })

    it('raises what we know as our class, and the rest as RemoteError with class, text and traceback', async () => {
      await expect(peer().failOfNova(context, { instance_id: 'i-1' })).rejects.toEqual(
        new InstanceNotFound('Instance i-1 could not be found.', { instance_id: 'i-1' }),
      )
      const unheard = await peer()
        .failUnheard(context, {})
        .catch((error: unknown) => error)
      expect(unheard).toBeInstanceOf(RemoteError)
      expect(unheard).toMatchObject({
        message: 'Unheard: nobody knows this class',
        details: {
          exc_type: 'Unheard',
          module: 'nova.exception',
          value: 'nobody knows this class',
          traceback: expect.arrayContaining([expect.stringContaining('Traceback')]),
        },
      })
      await expect(peer().failBuiltin(context, { text: 'bad' })).rejects.toMatchObject({
        code: 'REMOTE_ERROR',
        details: { exc_type: 'ValueError', module: 'builtins', value: 'bad' },
      })
      await expect(peer().failBuiltin(context, { wrong: 'argument' })).rejects.toMatchObject({
        details: { exc_type: 'TypeError' },
      })
      // Keywords that we cannot carry are left out, and the error is the same.
      await expect(peer().failLarge(context, {})).rejects.toEqual(
        new InstanceNotFound(`Instance ${2n ** 60n} could not be found.`),
      )
    })

    it.each(['3.0', '3.5', '3.4.9'])('serves version %s by 3.5', async (since) => {
      expect(await client.of(versionedApi(since)).versioned(context, {})).toBe('served by 3.5')
    })

    it.each(['3.6', '3.5.1', '4.0', '2.0'])('refuses version %s in its own words', async (since) => {
      await expect(client.of(versionedApi(since)).versioned(context, {})).rejects.toEqual(
        new UnsupportedVersion(`Endpoint does not support RPC version ${since}. Attempted method: versioned`),
      )
    })

    it('refuses methods that it has not, or keeps to itself, in its own words', async () => {
      const refusal = (method: string) => new NoSuchMethod(`Endpoint does not support RPC method ${method}`)

      await expect(peer().unknown(context, {})).rejects.toEqual(refusal('unknown'))
      await expect(peer().private(context, {})).rejects.toEqual(refusal('_private'))
      await expect(peer().later(context, {})).rejects.toEqual(
        new UnsupportedVersion('Endpoint does not support RPC version 1.1. Attempted method: echo'),
      )
    })

    it('serves by namespace, where none is one of them', async () => {
      expect(await client.of(namedApi('beings')).name(context, {})).toBe('named')
      expect(await client.of(namedApi('older')).name(context, {})).toBe('named')
      expect(await client.of(namedApi(undefined, 'nothing')).name(context, {})).toBeNull()
      await expect(client.of(namedApi(undefined)).name(context, {})).rejects.toThrow(NoSuchMethod)
      await expect(client.of(namedApi('others')).name(context, {})).rejects.toThrow(UnsupportedVersion)
    })

    it('answers our ping', async () => {
      expect(await client.of(pingApiOf('peer')).ping(context, {}, { server: 'peer1' })).toBe('pong')
    })

    it.each(["float('nan')", "float('inf')", '2**60', '-(10**30)', "{'deep': [2**53]}", "'x' * 5_000_000"])(
      'cannot give a result that would be changed in silence, or is larger than any may be: %s',
      async (expression) => {
        await expect(peer().evaluate(context, { expression })).rejects.toThrow(InvalidMessage)
      },
    )

    it.each([Number.NaN, Number.NEGATIVE_INFINITY, 2 ** 60, 10n ** 30n])(
      'is not sent an argument that would be changed in silence: %s',
      async (n) => {
        await expect(peer().echo(context, { n })).rejects.toThrow(UnserializableValue)
        await expect(peer().note(context, { deep: [n] })).rejects.toThrow(UnserializableValue)
      },
    )

    it("gives what JSON has not as Python's own text", async () => {
      const expression =
        "[2**53 - 1, datetime.datetime(2026, 11, 23, 3, 13, 11, 563638), uuid.UUID(int=1), (1, 2), b'bytes', {1: None}]"

      expect(await peer().evaluate(context, { expression })).toEqual([
        9007199254740991,
        '2026-11-23T03:13:11.563638',
        '00000000-0000-0000-0000-000000000001',
        [1, 2],
        'bytes',
        { 1: null },
      ])
    })

    it('shares topic and fanouts with a server of ours', async () => {
      const shared = defineApi({ ...PlainApi, service: 'shared' })
      const noted: unknown[] = []
      await python.do('start', { url: bus.url(), ...bus.peerServes(shared, 'theirs') })
      const { echo, note } = shared.methods
      const ours = {
        echo: async () => ({ server: 'ours' }),
        note: async ({ id }: { id?: unknown }) => void noted.push(id),
      }
      await bus.serve('ours', bind(defineApi({ ...shared, methods: { echo, note } }), ours))
      const both = client.of(shared)

      const answers = await Promise.all(Array.from({ length: 20 }, () => both.echo(context, {})))
      await both.note(context, { id: `shared ${bus.names.exchange}` }, { fanout: true })

      const servers = answers.map((answer) => (answer as { server: string }).server)
      expect(new Set(servers)).toEqual(new Set(['ours', 'theirs']))
      expect(await told(`shared ${bus.names.exchange}`, 1)).toEqual(['theirs'])
      await eventually(() => expect(noted).toEqual([`shared ${bus.names.exchange}`]))
    })

    it('may compress its answers', async () => {
      await python.do('start', { url: bus.url('kombu_compression=gzip'), ...bus.peerServes(PlainApi, 'gzip') })
      const args = { text: 'x'.repeat(10_000) }

      expect(await peer().echo(context, args, { server: 'gzip' })).toMatchObject({ args })
    })

    it('is waited for as long as it shows signs of life', async () => {
      expect(await peer().sleepWatched(context, { seconds: 3.5 })).toBe('slept')
      // Upstream goes on with the signs of life after such a failure; they are nobody's then.
      await expect(peer().unknownWatched(context, {})).rejects.toThrow(NoSuchMethod)
    })

    it('times out, and its answer that comes later disturbs nobody', async () => {
      await expect(peer().sleep(context, { seconds: 1.5 }, { timeoutMs: 500 })).rejects.toThrow(MessagingTimeout)
      expect(await peer().sleep(context, { seconds: 1.2 })).toBe('slept')
    })

    it('gets its answer through although our reply queue was deleted meanwhile', async () => {
      const { client: own, replyQueue } = await bus.client()
      const request_id = `req-deleted-${bus.names.exchange}`

      const result = own.of(PlainApi).sleep({ ...context, request_id }, { seconds: 1 })
      await asleep(request_id)
      await deleteQueues([replyQueue() as string])

      expect(await result).toBe('slept')
    })
  })

  it('that is killed is missed within the monitor time, not after the whole timeout', async () => {
    const victim = await PythonPeer.start('rpc_server.py')
    const places = await Promise.all(
      TOPOLOGIES.map(async (place) => {
        const bus = new OsloBus(place)
        // It cannot delete its fanout queue, which goes by itself.
        await victim.do('start', {
          url: bus.url('rabbit_transient_queues_ttl=5'),
          ...bus.peerServes(PlainApi, 'victim'),
        })
        return { bus, ...(await bus.client()) }
      }),
    )
    const started = performance.now()

    const calls = places.map(({ client }) =>
      client
        .of(PlainApi)
        .sleepWatched(context, { seconds: 60 }, { timeoutMs: 50_000 })
        .catch((error: unknown) => error),
    )
    await victim.eventually((events) => {
      expect(events.filter(({ event }) => event === 'sleeping')).toHaveLength(TOPOLOGIES.length)
    })
    victim.kill()

    for (const outcome of await Promise.all(calls)) expect(outcome).toBeInstanceOf(MessagingTimeout)
    expect(performance.now() - started).toBeLessThan(25_000)
    for (const { bus } of places) await bus[Symbol.asyncDispose]()
  })
})

function contains(context: unknown, request_id: string): boolean {
  return (context as { request_id: string }).request_id === request_id
}
