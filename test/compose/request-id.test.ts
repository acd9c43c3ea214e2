import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames } from '../../src/compose/names.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { topicOf } from '../../src/rpc/names.ts'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { anImage, plainFlavor } from '../support/requests.ts'

const SETTLE = { timeout: 20_000 }

it('whatever any worker logs about an instance or a message names the request, be it refused, failed or parked', async () => {
  const [pglite] = databaseEngines as [DatabaseEngine]
  await using opened = await pglite.open(allMigrations)
  const bus = new MemoryBus()
  const config = loadConfig({ env: {} })
  const names = busNames(config)
  const lines: Record<string, unknown>[] = []
  const logger = pino({ level: 'debug' }, { write: (line) => lines.push(JSON.parse(line)) })
  const silent = pino({ level: 'silent' })
  // A fault of the simulation, beside what a configuration can say.
  const fake = { sev_slots: 0, fail_spawn: 1 }
  const cloud = await startLocalCloud({
    config,
    database: opened.database,
    connect: async () => bus.connect(),
    hosts: ['h1', 'h2'].map((host) => ({ host, fake })),
    folder: mkdtempSync(join(tmpdir(), 'sevbus-request-id-')),
    logger,
  })
  const transport = bus.connect()
  const client = new RpcClient({ transport, logger: silent, names })
  const conductor = client.of(ConductorApi)
  const context = newRequestContext({ project_id: 'p', request_id: 'req-build' })
  const to = { kind: 'topic', exchange: names.exchange, topic: topicOf(names, ConductorApi) } as const
  const wrong = { method: 'continue_build', namespace: undefined, version: '1.0', args: { wrong: 1 } }
  const parked = encodeRequest({ ...wrong, context: newRequestContext({ request_id: 'req-parked' }) })
  const unreadable = '{"method": "ping", "args": {"n": NaN}, "_context_request_id": "req-unreadable"}'

  for (const body of [parked, unreadable]) await transport.publish(to, { body, mandatory: true })
  await conductor.buildInstances(context, { name: 'a', flavor: plainFlavor, image: anImage(), count: 2 })
  const settled = await vi.waitFor(async () => {
    const { instances } = await conductor.listInstances(context, {})
    expect(instances.filter(({ vm_state }) => vm_state === 'building')).toEqual([])
    return instances
  }, SETTLE)
  for (const { uuid } of settled) await conductor.deleteInstance(context, { instance_uuid: uuid })
  const said = (text: string) => lines.filter(({ msg }) => String(msg).startsWith(text))
  await vi.waitFor(() => expect(said('claim given back').length).toBeGreaterThan(0), SETTLE)
  await cloud.drain(5000)
  await client.close()
  await transport.close()

  const idsOf = (text: string) => new Set(said(text).map(({ request_id }) => request_id))
  expect(idsOf('host claimed')).toEqual(new Set(['req-build']))
  expect(idsOf('build failed')).toEqual(new Set(['req-build']))
  expect(idsOf('a message was refused')).toEqual(new Set(['req-unreadable']))
  expect(idsOf('message parked')).toEqual(new Set(['req-parked', 'req-unreadable']))
  const about = lines.filter((line) => ['instance_uuid', 'method', 'what'].some((key) => key in line))
  expect(about.filter(({ request_id }) => typeof request_id !== 'string')).toEqual([])
})
