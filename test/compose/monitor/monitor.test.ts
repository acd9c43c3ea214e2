import { readFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { workerMetrics } from '../../../src/compose/monitor/metrics.ts'
import { Monitor } from '../../../src/compose/monitor/monitor.ts'
import type { ReadinessCheck } from '../../../src/compose/monitor/watched.ts'
import { InvalidConfiguration, NoValidHost, SpawnFailed, WorkerDeaf } from '../../../src/errors.ts'
import { FindingKind } from '../../../src/objects/audit.ts'
import { RpcClient } from '../../../src/rpc/client.ts'
import { call, cast, defineApi } from '../../../src/rpc/contract.ts'
import { bind } from '../../../src/rpc/dispatcher.ts'
import { MemoryBus } from '../../../src/rpc/drivers/memory.ts'
import { deadLetterQueue } from '../../../src/rpc/names.ts'
import { newRequestContext } from '../../../src/rpc/request-context.ts'
import { RpcServer } from '../../../src/rpc/server.ts'
import type { AuditSummary } from '../../../src/scheduler/audit/audit-log.ts'
import { freshNames, silent } from '../../support/transports.ts'

const Text = z.object({ text: z.string() })
const EchoApi = defineApi({
  service: 'echo',
  version: '1.0',
  methods: {
    say: call({ wire: 'say', since: '1.0', summary: 'Gives the text back.', input: Text, output: Text }),
    note: cast({ wire: 'note', since: '1.0', summary: 'Keeps the text.', input: Text, output: z.void() }),
  },
})
const context = newRequestContext()

interface WatchedOptions {
  readonly start?: boolean
  readonly concurrency?: number
  /** It takes what waits by the clock, from a queue by its own name alone. */
  readonly gatherMs?: number
}

/** A worker that is watched: it refuses `no`, waits over `wait`, and fails at `bad`. */
async function openWatched({ start = true, concurrency = 4, gatherMs }: WatchedOptions = {}) {
  const names = freshNames()
  const bus = new MemoryBus()
  const transport = bus.connect()
  const options = { service: 'echo', host: 'node1', transport, logger: silent }
  const at = { host: '127.0.0.1', port: 0 }
  const monitor = await Monitor.open({ ...options, at, deadLetterQueue: deadLetterQueue(names) })
  const { observer } = monitor
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const server = new RpcServer({
    transport,
    logger: silent,
    server: 'node1',
    names,
    concurrency,
    observer,
    maxDeliveries: 2,
    retryDelayMs: 1,
    gatherMs,
    bindings: [
      bind(EchoApi, {
        async say({ text }) {
          if (text === 'no') throw new NoValidHost('nowhere')
          if (text === 'wait') await released
          return { text }
        },
        async note({ text }) {
          if (text === 'bad') throw new SpawnFailed('it did not start')
        },
      }),
    ],
  })
  const client = new RpcClient({ transport, logger: silent, names, observer })
  const checks: ReadinessCheck[] = []
  const store = { backlog: async () => ({ messages: 3, oldestAgeSeconds: 7.5 }) }
  const audit: { last(): Promise<AuditSummary | undefined> } = {
    last: async () => ({ ageSeconds: 42, remaining: { leak: 2 }, notJudged: 1 }),
  }
  const scheduling = {
    hosts: { ageSeconds: 0.5 as number | undefined },
    lostClaims: 3,
    reports: { refused: new Map([['DUPLICATE_HOST', 2]]) },
  }
  const watch = () =>
    monitor.watch({
      servers: [server],
      scheduling,
      selfCheck: { counts: { checks: 5, repairs: 1 } },
      store,
      audit,
      checks,
    })
  if (start) {
    await server.start()
    watch()
  }
  onTestFinished(async () => {
    release()
    await server.drain(1000)
    await client.close()
    await monitor.close()
    await transport.close()
  })
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${monitor.url}${path}`, init)
    return { status: response.status, text: await response.text() }
  }
  /** Series by name and labels, those that every one has left out. */
  const scrape = async (): Promise<Record<string, number>> => {
    const { text } = await get('/metrics')
    const lines = text.split('\n').filter((line) => line.startsWith('sevbus_'))
    return Object.fromEntries(
      lines.map((line) => {
        const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
        const own = labels.split(',').filter((label) => !label.startsWith('worker'))
        return [own.length > 0 ? `${name}{${own.join(',')}}` : name, Number(value)]
      }),
    )
  }
  return {
    bus,
    names,
    transport,
    store,
    audit,
    scheduling,
    monitor,
    server,
    checks,
    watch,
    release,
    get,
    scrape,
    echo: client.of(EchoApi),
  }
}

describe('/livez', () => {
  it('is 200 while the worker can go on, whatever is away around it', async () => {
    const { get, checks } = await openWatched()
    checks.push({ name: 'database', trouble: async () => 'away' })

    expect(await get('/livez')).toEqual({ status: 200, text: '[+] worker\n' })
  })

  it('is 503 with the reason once it cannot', async () => {
    const { get, monitor } = await openWatched()

    monitor.broke(new WorkerDeaf('echo node1 does not get its messages'))

    expect(await get('/livez')).toEqual({
      status: 503,
      text: '[-] worker: echo node1 does not get its messages\n',
    })
  })
})

describe('/readyz', () => {
  it('is 503 until the worker takes requests, 200 while it does, and 503 as soon as it drains', async () => {
    const { get, server, watch } = await openWatched({ start: false })

    expect(await get('/readyz')).toEqual({ status: 503, text: '[+] broker\n[-] server: it has not started yet\n' })

    await server.start()
    watch()
    expect(await get('/readyz')).toEqual({ status: 200, text: '[+] broker\n[+] server\n' })

    await server.drain(0)
    expect(await get('/readyz')).toEqual({
      status: 503,
      text: '[+] broker\n[-] server: it takes no requests: starting, draining, or not the worker of its host\n',
    })
  })

  it('tells all that is wrong together, be it said, thrown or not answered', async () => {
    const { get, transport, checks } = await openWatched()
    checks.push({ name: 'database', trouble: async () => Promise.reject(new Error('connection refused')) })
    checks.push({ name: 'host report', trouble: () => new Promise(() => {}) })

    await transport.close()

    expect(await get('/readyz')).toEqual({
      status: 503,
      text: [
        '[-] broker: not connected (closed)',
        '[+] server',
        '[-] database: connection refused',
        '[-] host report: no answer within 2000 ms',
        '',
      ].join('\n'),
    })
  })

  it('is 503 while a queue of its own is gone, or has nobody who consumes it, though the connection is well', async () => {
    const { get, bus, names } = await openWatched()
    const topic = `${names.topicPrefix}echo`

    bus.delete(topic)
    expect(await get('/readyz')).toEqual({
      status: 503,
      text: `[+] broker\n[-] server: its queue ${topic} is gone\n`,
    })

    const other = await bus.connect().listen({ kind: 'queue', queue: topic }, () => {}, { prefetch: 1 })
    await other.close()
    expect(await get('/readyz')).toEqual({
      status: 503,
      text: `[+] broker\n[-] server: nobody consumes its queue ${topic}\n`,
    })
  })

  it('is 200 while nobody consumes a queue that is emptied by the clock, and 503 when that is gone', async () => {
    const { get, bus, names } = await openWatched({ gatherMs: 500 })
    const queue = `${names.topicPrefix}echo.node1`

    bus.delete(queue)
    expect(await get('/readyz')).toEqual({ status: 503, text: `[+] broker\n[-] server: its queue ${queue} is gone\n` })

    const other = await bus.connect().listen({ kind: 'queue', queue }, () => {}, { prefetch: 1 })
    await other.close()
    expect(await get('/readyz')).toEqual({ status: 200, text: '[+] broker\n[+] server\n' })
  })
})

describe('/metrics', () => {
  it('count calls by method and outcome, on both sides', async () => {
    const { echo, scrape } = await openWatched()

    await echo.say(context, { text: 'hello' })
    await echo.say(context, { text: 'hello' })
    await expect(echo.say(context, { text: 'no' })).rejects.toThrow(NoValidHost)

    const series = await scrape()
    const labels = (outcome: string) => `{service="echo",method="say",outcome="${outcome}"}`
    for (const side of ['client', 'server']) {
      expect(series[`sevbus_rpc_${side}_duration_seconds_count${labels('ok')}`]).toBe(2)
      expect(series[`sevbus_rpc_${side}_duration_seconds_count${labels('NO_VALID_HOST')}`]).toBe(1)
      expect(series[`sevbus_rpc_${side}_in_flight{service="echo",method="say"}`]).toBe(0)
    }
  })

  it('show what is in flight, what waits in a queue, and for how long at most', async () => {
    const { names, echo, scrape, release } = await openWatched({ concurrency: 1 })
    const topic = `${names.topicPrefix}echo`

    const calls = [1, 2, 3].map(() => echo.say(context, { text: 'wait' }))
    await vi.waitFor(async () => {
      const series = await scrape()
      expect(series['sevbus_rpc_client_in_flight{service="echo",method="say"}']).toBe(3)
      expect(series['sevbus_rpc_server_in_flight{service="echo",method="say"}']).toBe(1)
      expect(series[`sevbus_queue_messages{queue="${topic}"}`]).toBe(1)
      expect(series[`sevbus_queue_oldest_message_age_seconds{queue="${topic}"}`]).toBeGreaterThan(0)
    })
    release()
    await Promise.all(calls)

    const series = await scrape()
    expect(series[`sevbus_queue_messages{queue="${topic}"}`]).toBe(0)
    expect(series[`sevbus_queue_consumers{queue="${topic}"}`]).toBe(1)
    expect(series[`sevbus_queue_oldest_message_age_seconds{queue="${topic}"}`]).toBe(0)
  })

  it('count what is tried again, parked and refused, and how many dead letters there are', async () => {
    const { names, transport, echo, scrape } = await openWatched()
    const { exchange, topicPrefix } = names
    const to = { kind: 'topic', exchange, topic: `${topicPrefix}echo` } as const

    await echo.note(context, { text: 'bad' })
    await transport.publish(to, { body: '{"method": "rm -rf", "args": {}}', mandatory: true })
    await transport.publish(to, { body: 'no JSON', mandatory: true })

    await vi.waitFor(async () => {
      const series = await scrape()
      expect(series['sevbus_rpc_server_retries_total{service="echo",method="note"}']).toBe(1)
      expect(series['sevbus_rpc_server_dead_letters_total{code="SPAWN_FAILED"}']).toBe(1)
      expect(series[`sevbus_queue_messages{queue="${deadLetterQueue(names)}"}`]).toBe(3)
    })
    const series = Object.keys(await scrape())
    expect(series.filter((name) => name.startsWith('sevbus_rpc_server_refused_total'))).toHaveLength(2)
    expect(series.join()).not.toContain('rm -rf')
  })

  it('count replies that were not taken', async () => {
    const { transport, echo, scrape } = await openWatched()
    const publish = vi.spyOn(transport, 'publish')
    await echo.say(context, { text: 'hello' })
    const request = JSON.parse(JSON.parse(String(publish.mock.calls[0]?.[1].body))['oslo.message'])

    await transport.publish({ kind: 'queue', queue: request._reply_q }, { body: 'no JSON', mandatory: true })

    await vi.waitFor(async () => {
      expect((await scrape())['sevbus_rpc_client_replies_refused_total{code="INVALID_MESSAGE"}']).toBe(1)
    })
  })

  it('tell of the connection, the store and the self-check', async () => {
    const { scrape, transport } = await openWatched()

    expect(await scrape()).toMatchObject({
      sevbus_worker_serving: 1,
      sevbus_broker_connected: 1,
      sevbus_broker_blocked: 0,
      sevbus_broker_reconnects_total: 0,
      'sevbus_broker_publishes_total{outcome="confirmed"}': transport.counts.published.confirmed,
      sevbus_outbox_messages: 3,
      sevbus_outbox_oldest_message_age_seconds: 7.5,
      sevbus_self_checks_total: 5,
      sevbus_self_check_repairs_total: 1,
    })
  })

  it('are the same while broker and database are away, without what only they know', async () => {
    const { scrape, transport, names } = await openWatched()

    await transport.close()

    const series = await scrape()
    expect(series.sevbus_broker_connected).toBe(0)
    expect(series[`sevbus_queue_messages{queue="${deadLetterQueue(names)}"}`]).toBeUndefined()
  })

  it('tell what the last audit found, by kind, and nothing while there was none', async () => {
    const { scrape, audit } = await openWatched()
    const ofAudits = async () => Object.entries(await scrape()).filter(([name]) => name.startsWith('sevbus_audit'))

    expect(Object.fromEntries(await ofAudits())).toEqual({
      ...Object.fromEntries(FindingKind.options.map((kind) => [`sevbus_audit_findings{kind="${kind}"}`, 0])),
      'sevbus_audit_findings{kind="leak"}': 2,
      sevbus_audit_not_judged: 1,
      sevbus_audit_age_seconds: 42,
    })
    audit.last = async () => undefined
    expect(await ofAudits()).toEqual([])
  })

  it('tell of a scheduler how old its view of hosts is, as soon as it has one, the claims that it lost, and reports it did not take', async () => {
    const { scrape, scheduling } = await openWatched()
    const ofScheduler = async () =>
      Object.entries(await scrape()).filter(([name]) => name.startsWith('sevbus_scheduler'))

    expect(await ofScheduler()).toEqual([
      ['sevbus_scheduler_hosts_age_seconds', 0.5],
      ['sevbus_scheduler_lost_claims_total', 3],
      ['sevbus_scheduler_reports_refused_total{code="DUPLICATE_HOST"}', 2],
    ])
    const reports = { refused: new Map() }
    Object.assign(scheduling, { hosts: { ageSeconds: undefined }, lostClaims: 5, reports })
    expect(await ofScheduler()).toEqual([['sevbus_scheduler_lost_claims_total', 5]])
  })

  it('do not take an outbox that cannot be read for an empty one', async () => {
    const { scrape, store } = await openWatched()
    await scrape()

    store.backlog = async () => Promise.reject(new Error('connection refused'))

    const series = Object.keys(await scrape())
    expect(series.filter((name) => name.startsWith('sevbus_outbox'))).toEqual([])
  })

  it('are read once for all who scrape at the same time', async () => {
    const { transport, server } = await openWatched()
    const inspect = vi.spyOn(transport, 'inspect')
    const { scrape } = workerMetrics({ service: 'echo', host: 'node1' })
    const worker = { servers: [server], selfCheck: { counts: { checks: 0, repairs: 0 } }, checks: [] }
    const watched = { transport, deadLetterQueue: 'letters', worker }

    const [one, other] = await Promise.all([scrape(watched), scrape(watched)])

    expect(inspect.mock.calls.map(([queue]) => queue)).toEqual([...server.queues, 'letters'])
    expect(one).toBe(other)
  })

  it('are those of the documentation, with its types', async () => {
    const { get } = await openWatched()
    const { text } = await get('/metrics')
    const served = [...text.matchAll(/^# TYPE (sevbus_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`)

    const page = readFileSync('docs/metrics.md', 'utf8')
    const documented = [...page.matchAll(/^\| `(sevbus_\w+)` \| (\w+) \|/gm)].map(([, name, type]) => `${name} ${type}`)
    expect(documented.toSorted()).toEqual(served.toSorted())
  })
})

describe('the monitor', () => {
  it('answers nothing but GET, and only where something is', async () => {
    const { get } = await openWatched()

    expect(await get('/metrics', { method: 'POST' })).toEqual({ status: 405, text: 'only GET\n' })
    expect(await get('/admin')).toEqual({ status: 404, text: 'there are /livez, /readyz and /metrics\n' })
  })

  it('says which setting to change when its port is taken', async () => {
    const { monitor, transport } = await openWatched()
    const port = Number(new URL(monitor.url).port)
    const options = { service: 'echo', host: 'node2', transport, logger: silent, deadLetterQueue: 'd' }

    const second = Monitor.open({ ...options, at: { host: '127.0.0.1', port } })

    await expect(second).rejects.toThrow(InvalidConfiguration)
    await expect(second).rejects.toThrow(
      `worker.monitor_port is ${port}, but nothing can be served at 127.0.0.1:${port}`,
    )
  })
})
