import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { NoSuchMethod, UnsupportedVersion } from '../../src/errors.ts'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { deleteQueues, eventually, OsloBus, TOPOLOGIES } from './oslo-bus.ts'
import { canRunPeers, PythonPeer } from './python-peer.ts'

const LIMITS =
  'rabbit_quorum_delivery_limit=7&rabbit_quroum_max_memory_length=500&rabbit_quroum_max_memory_bytes=900000'

/** Options that no other test sets, most of them at once: those that change declarations, and those that do not. */
const PLACES = TOPOLOGIES.map(({ topology, options }) => {
  // RabbitMQ lets nobody consume a quorum queue with enable_cancel_on_failover, and mirrors none.
  const declaring = topology === 'quorum' ? [LIMITS] : ['rabbit_ha_queues=1', 'enable_cancel_on_failover=1']
  const others = [
    ...['rabbit_transient_queues_ttl=90', 'heartbeat_timeout_threshold=2', 'heartbeat_rate=2'],
    ...['rabbit_qos_prefetch_count=1', 'direct_mandatory_flag=0'],
    ...['rabbit_login_method=PLAIN', 'kombu_compression=gzip', 'rpc_conn_pool_size=3'],
  ]
  return { topology, options: [options, ...declaring, ...others].filter((option) => option !== '').join('&') }
})

const given = { summary: 'Of both sides.', output: z.unknown() }

const GreenApi = defineApi({
  service: 'green',
  namespace: 'green',
  version: '2.3',
  methods: {
    who: call({ ...given, wire: 'who', since: '2.1', input: z.object({ pause: z.number() }), monitorTimeoutMs: 2_000 }),
    hidden: call({ ...given, wire: 'hidden', since: '2.0', input: z.object({}) }),
    later: call({ ...given, wire: 'who', since: '2.4', input: z.object({ pause: z.number() }) }),
    note: cast({ ...given, wire: 'note', since: '2.0', input: z.object({ number: z.number() }), output: z.void() }),
  },
})

const OursApi = defineApi({
  service: 'ours',
  namespace: 'ours',
  version: '4.2',
  methods: {
    double: call({ ...given, wire: 'double', since: '4.0', input: z.object({ number: z.number() }) }),
    note: cast({ ...given, wire: 'note', since: '4.1', input: z.object({ number: z.number() }), output: z.void() }),
  },
})

describe.runIf(canRunPeers())('a Python service under eventlet, with options of its own', () => {
  describe.concurrent.each(PLACES)('over topology $topology', (place) => {
    const noted: string[] = []
    let python: PythonPeer
    let bus: OsloBus

    beforeAll(async () => {
      bus = new OsloBus(place)
      python = await PythonPeer.start('green_peer.py')
      for (const server of ['g1', 'g2']) {
        await python.do('serve', { url: bus.url(), ...bus.peerServes(GreenApi, server) })
      }
      for (const server of ['n1', 'n2']) {
        const double = async ({ number }: { number: number }) => number * 2
        const note = async ({ number }: { number: number }) => void noted.push(`${server} ${number}`)
        await bus.serve(server, bind(OursApi, { double, note }))
      }
    })
    afterAll(async () => {
      await python.do('stop')
      await deleteQueues((await python.do('reply_queues')) as string[])
      await python.end()
      await bus[Symbol.asyncDispose]()
    })

    const served = { namespace: 'ours', version: '4.0' }
    const facts = (kind: string, method: string, prepare: object, more: object = {}) => ({
      ...{ url: bus.url(), exchange: bus.names.exchange, topic: bus.topic('ours') },
      ...{ kind, method, prepare: { ...served, ...prepare }, ...more },
    })

    it('answers many calls at once, and shows signs of life meanwhile', async () => {
      const { client } = await bus.client()
      const green = client.of(GreenApi)
      const asked = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 'g1' : 'g2'))

      const answers = asked.map((server) => green.who(newRequestContext(), { pause: 3 }, { server }))

      expect(await Promise.all(answers)).toEqual(asked)
    })

    it('refuses what it does not expose, and versions that it has not, in its own words', async () => {
      const { client } = await bus.client()
      const green = client.of(GreenApi)

      const [hidden, later] = await Promise.allSettled([
        green.hidden(newRequestContext(), {}),
        green.later(newRequestContext(), { pause: 0 }),
      ])

      const text = 'Endpoint does not support RPC version 2.4. Attempted method: who'
      expect(hidden).toMatchObject({ reason: new NoSuchMethod('Endpoint does not support RPC method hidden') })
      expect(later).toMatchObject({ reason: new UnsupportedVersion(text) })
    })

    it('is told by our fanout, each of its servers once', async () => {
      const { client } = await bus.client()

      await client.of(GreenApi).note(newRequestContext(), { number: 1 }, { fanout: true })

      await python.eventually((events) => {
        const servers = events.filter(({ event }) => event === 'noted').map(({ server }) => server)
        expect(servers.toSorted()).toEqual(['g1', 'g2'])
      })
    })

    it('gets each of many answers for its own question', async () => {
      const results = await python.do('calls_at_once', { ...facts('call', 'double', { timeout: 20 }), count: 30 })

      expect(results).toEqual(Array.from({ length: 30 }, (_, number) => number * 2))
    })

    it('reaches by what it has prepared: a server, all of them, without trying again', async () => {
      const args = { number: 5 }
      const directed = await python.do('send', facts('call', 'double', { server: 'n2', timeout: 20 }, { args }))
      await python.do('send', facts('cast', 'note', { fanout: true, version: '4.1', retry: 0 }, { args }))

      expect(directed).toBe(10)
      await eventually(() => expect(noted.toSorted()).toEqual(['n1 5', 'n2 5']))
    })

    it('is kept by its own cap from versions that we would serve', async () => {
      const prepare = { version: '4.2', version_cap: '4.1' }
      const capped = await python.try('send', facts('call', 'double', prepare, { args: { number: 1 } }))
      const asked = await python.do('send', facts('call', 'double', { version_cap: '4.1' }, { can_send: '4.2' }))

      expect(capped).toMatchObject({ error: { class: 'RPCVersionCapError' } })
      expect(asked).toBe(false)
    })

    it('hears from the broker that nobody serves a name, where it asks for that', async () => {
      const prepare = { server: 'nobody' }
      const outcome = await python.try('send', facts('cast', 'note', prepare, { at_least_once: true }))

      expect(outcome).toMatchObject({ error: { class: 'MessageUndeliverable' } })
    })
  })
})
