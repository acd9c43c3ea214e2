import { randomUUID } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { startCompute } from '../../src/compose/compute-worker.ts'
import { startConductor } from '../../src/compose/conductor-worker.ts'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { openMonitor } from '../../src/compose/monitor/open.ts'
import { startScheduler } from '../../src/compose/scheduler-worker.ts'
import { BUILD_REPORTS, ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import type { Database } from '../../src/database/database.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import type { Source, Transport } from '../../src/rpc/transport.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { silent } from '../support/transports.ts'

const logger = silent
const [pglite] = databaseEngines as [DatabaseEngine]

/** A connection on which nobody may serve: an account without the right to, say. */
function refusing(bus: MemoryBus, refuses: (source: Source) => boolean = () => true): Transport & { closed: boolean } {
  const transport = bus.connect()
  return {
    description: transport.description,
    closed: false,
    userId: transport.userId,
    blocked: undefined,
    get counts() {
      return transport.counts
    },
    get state() {
      return transport.state
    },
    connect: (signal) => transport.connect(signal),
    inspect: (queue, signal) => transport.inspect(queue, signal),
    check: (signal) => transport.check(signal),
    reconnect: (reason) => transport.reconnect(reason),
    publish: (to, message, signal) => transport.publish(to, message, signal),
    declare: (to, signal) => transport.declare(to, signal),
    listen: async (source, handler, options) => {
      if (refuses(source)) throw new Error('ACCESS_REFUSED')
      return transport.listen(source, handler, options)
    },
    close() {
      this.closed = true
      return transport.close()
    },
  }
}

/** What keeps a process alive that has nothing else to do. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

function aConfig() {
  const config = loadConfig({ env: {}, host: 'node1' })
  const state_folder = join(mkdtempSync(join(tmpdir(), 'sevbus-start-')), 'node1')
  return { ...config, compute: { ...config.compute, state_folder } }
}

describe('a worker that cannot start', () => {
  it('leaves nothing that keeps its process alive: conductor and scheduler', async () => {
    await using opened = await pglite.open(allMigrations)
    const { database } = opened
    const bus = new MemoryBus()
    const before = timers()

    for (const start of [startConductor, startScheduler]) {
      const transport = refusing(bus)
      const starting = start(aConfig(), { host: 'node1', transport, logger, database })
      await expect(starting).rejects.toThrow('ACCESS_REFUSED')
      expect(transport.closed).toBe(true)
    }

    await vi.waitFor(() => expect(timers()).toBeLessThanOrEqual(before))
  })

  it('leaves its journal to the next: compute', async () => {
    const config = aConfig()
    const bus = new MemoryBus()
    const before = timers()

    const transport = refusing(bus)
    await expect(startCompute(config, { host: 'node1', transport, logger })).rejects.toThrow('ACCESS_REFUSED')

    expect(transport.closed).toBe(true)
    await vi.waitFor(() => expect(timers()).toBeLessThanOrEqual(before))
    const next = await startCompute(config, { host: 'node1', transport: bus.connect(), logger })
    await next.drain(0)
  })

  it('takes those with it that were started before, in one process', async () => {
    await using opened = await pglite.open(allMigrations)
    const folder = mkdtempSync(join(tmpdir(), 'sevbus-start-'))
    const bus = new MemoryBus()
    const before = timers()
    const connections: ReturnType<typeof refusing>[] = []
    const connect = async () => {
      const transport = refusing(bus, (source) => source.kind === 'server' && source.server === 'h2')
      connections.push(transport)
      return transport
    }
    const hosts = ['h1', 'h2'].map((host) => ({ host, fake: {} }))

    const starting = startLocalCloud({ config: aConfig(), database: opened.database, connect, hosts, folder, logger })

    await expect(starting).rejects.toThrow('ACCESS_REFUSED')
    expect(connections.map(({ closed }) => closed)).toEqual([true, true, true, true])
    await vi.waitFor(() => expect(timers()).toBeLessThanOrEqual(before))
  })
})

/** Either of these as an operator runs it, with what its monitor says. */
async function openWatched(service: 'conductor' | 'scheduler') {
  const opened = await pglite.open(allMigrations)
  const bus = new MemoryBus()
  const config = aConfig()
  const watched = { ...config, worker: { ...config.worker, monitor_port: 0 } }
  const ports = { host: 'c1', transport: bus.connect(), logger }
  const monitor = await openMonitor(watched, { service, ...ports })
  const start = { conductor: startConductor, scheduler: startScheduler }[service]
  const worker = await start(watched, { ...ports, database: opened.database, ...(monitor && { monitor }) })
  return {
    bus,
    get: async (path: string) => await (await fetch(`${monitor?.url}${path}`)).text(),
    async [Symbol.asyncDispose]() {
      await worker.drain(0)
      await monitor?.close()
      await opened[Symbol.asyncDispose]()
    },
  }
}

describe('a scheduler that is watched', () => {
  it('tells of what waits for schedulers by the name for signs of life, and is not ready without that queue', async () => {
    await using scheduler = await openWatched('scheduler')
    const { bus, get } = scheduler

    expect(await get('/metrics')).toMatch(/^sevbus_queue_consumers\{queue="sevbus-scheduler._signs-of-life".* 1$/m)
    expect(await get('/readyz')).toBe('[+] broker\n[+] server\n[+] database\n')
    bus.delete('sevbus-scheduler._signs-of-life')
    expect(await get('/readyz')).toBe(
      '[+] broker\n[-] server: its queue sevbus-scheduler._signs-of-life is gone\n[+] database\n',
    )
  })
})

describe('a conductor that is watched', () => {
  it('tells of what waits for conductors by the name for reports of builds, and is not ready without that queue', async () => {
    await using conductor = await openWatched('conductor')
    const { bus, get } = conductor

    const seen = [...(await get('/metrics')).matchAll(/^sevbus_queue_consumers\{queue="([^"]+)".* (\d+)$/gm)]

    expect(Object.fromEntries(seen.map(([, queue, consumers]) => [queue, Number(consumers)]))).toEqual({
      'sevbus-conductor': 1,
      'sevbus-conductor.c1': 1,
      'sevbus-conductor._build-reports': 1,
      'sevbus-dead-letters': 0,
    })
    expect(await get('/readyz')).toBe('[+] broker\n[+] server\n[+] database\n')
    bus.delete('sevbus-conductor._build-reports')
    expect(await get('/readyz')).toBe(
      '[+] broker\n[-] server: its queue sevbus-conductor._build-reports is gone\n[+] database\n',
    )
  })
})

describe('a conductor that stops', () => {
  it('takes nothing new by either of its names while what came by one of them goes on', async () => {
    await using opened = await pglite.open(allMigrations)
    const { database } = opened
    const bus = new MemoryBus()
    let begun = 0
    let goOn = () => {}
    const going = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const slow: Database = {
      description: database.description,
      query: (sql, params) => database.query(sql, params),
      async transaction(work) {
        begun++
        await going
        return await database.transaction(work)
      },
      close: () => database.close(),
    }
    const worker = await startConductor(aConfig(), { host: 'c1', transport: bus.connect(), logger, database: slow })
    const transport = bus.connect()
    const client = new RpcClient({ transport, logger })
    const fault = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: new Date().toISOString() }
    const outcome = { result: 'failed' as const, fault, retryable: true }
    const reports = [{ instance_uuid: randomUUID(), attempt: 1, host: 'h1', outcome }]
    await client.of(ConductorApi).reportBuilds(newRequestContext(), { reports }, { server: BUILD_REPORTS })
    await vi.waitFor(() => expect(begun).toBe(1))

    const drained = worker.drain(60_000)

    const consumers = async (queue: string) => (await transport.inspect(queue))?.consumers
    await vi.waitFor(async () => {
      expect([await consumers('sevbus-conductor'), await consumers('sevbus-conductor.c1')]).toEqual([0, 0])
    })
    goOn()
    await drained
    await client.close()
  })
})
