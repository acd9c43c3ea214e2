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
    const noted = (id: string) =>
      python.eventually((events) => {
        const of = events.filter(({ event, args }) => event === 'noted' && (args as { id: string }).id === id)
        return { of: (count: number) => expect(of.map(({ server }) => server).toSorted()).toHaveLength(count), all: of }
      })

    beforeAll(async () => {
      bus = new OsloBus(place)
      for (const server of ['peer1', 'peer2.example.org']) {
        await python.do('start', { url: bus.url(), ...bus.peerServes(PlainApi, server) })
      }
      client = (await bus.client()).client
    })
    afterAll(async () => {
      await python.do('stop', { topic: bus.topic('peer') })
      await bus[Symbol.asyncDispose]()
    })
  })
})
