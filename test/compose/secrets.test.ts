import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, it, vi } from 'vitest'
import { startLocalCloud } from '../../src/compose/local-cloud.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import { busNames, notificationNames } from '../../src/compose/names.ts'
import { ConductorApi } from '../../src/conductor/rpc-api.ts'
import { loadConfig } from '../../src/config.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { type DatabaseEngine, databaseEngines } from '../support/databases.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'

const SECRET = 'TOPSECRET'
/** As it is on the bus. */
const USER_DATA = Buffer.from(`#cloud-config\npassword: ${SECRET}`).toString('base64')
const isSecret = (text: string) => text.includes(SECRET) || text.includes(USER_DATA)
const SETTLE = { timeout: 20_000 }

it('tokens of a request, and its user data, are in no log of any worker, no notification, and nothing that is stored', async () => {
  const [pglite] = databaseEngines as [DatabaseEngine]
  await using opened = await pglite.open(allMigrations)
  const { database } = opened
  const bus = new MemoryBus()
  const config = loadConfig({ env: {} })
  const lines: string[] = []
  // Everything is logged, and nothing is cut out of it afterwards.
  const logger = pino({ level: 'trace' }, { write: (line) => lines.push(line) })
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-secrets-'))
  const connect = async () => bus.connect()
  const hosts = [{ host: 'h1', fake: { sev_slots: 1 } }]
  const cloud = await startLocalCloud({ config, database, connect, hosts, folder, logger })
  const transport = bus.connect()
  const notifications: string[] = []
  const { exchange, topic } = notificationNames(config)
  await transport.listen(
    { kind: 'notification-tap', exchange, topics: [topic], priorities: ['info', 'error'] },
    (delivery) => {
      notifications.push(delivery.body.toString())
      delivery.ack()
    },
    { prefetch: 10 },
  )
  const client = new RpcClient({ transport, logger, names: busNames(config) })
  const conductor = client.of(ConductorApi)
  const context = {
    ...newRequestContext({ project_id: 'p', user_id: 'u' }),
    auth_token: SECRET,
    service_catalog: [{ password: SECRET }],
  }

  const plain = { name: 'plain', flavor: plainFlavor, image: anImage(), count: 1, user_data: USER_DATA }
  await conductor.buildInstances(context, plain)
  await conductor.buildInstances(context, { ...plain, name: 'sev', flavor: sevFlavor, count: 2 })
  const settled = await vi.waitFor(async () => {
    const { instances } = await conductor.listInstances(context, {})
    expect(isSecret(JSON.stringify(instances))).toBe(false)
    expect(instances.map(({ vm_state }) => vm_state).toSorted()).toEqual(['active', 'active', 'error'])
    return instances
  }, SETTLE)
  for (const { uuid } of settled) await conductor.deleteInstance(context, { instance_uuid: uuid })
  await vi.waitFor(() => expect(notifications.join()).toContain('instance.delete.end'), SETTLE)
  await cloud.drain(5000)
  await client.close()
  await transport.close()

  expect(lines.join()).toContain(context.request_id)
  expect(notifications.join()).toContain(context.request_id)
  expect([...lines, ...notifications].filter(isSecret)).toEqual([])
  const tables = await database.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public'",
  )
  const rows = await Promise.all(tables.map(({ name }) => database.query(`select * from "${name}"`)))
  expect(JSON.stringify(rows)).toContain(context.request_id)
  expect(isSecret(JSON.stringify(rows))).toBe(false)
})
