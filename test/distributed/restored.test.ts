import { randomUUID } from 'node:crypto'
import { expect, inject, it } from 'vitest'
import { checkLedger } from '../../src/billing/check-ledger.ts'
import { Ledger } from '../../src/billing/ledger.ts'
import { usageRecords } from '../../src/billing/usage-records.ts'
import { newRequestContext } from '../../src/client.ts'
import type { Queryable } from '../../src/database/database.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import { InstanceInvalidState } from '../../src/errors.ts'
import { administer } from '../servers/made-databases.ts'
import { createSoakDatabase } from '../soak/database.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { waitFor } from '../support/wait-for.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const context = newRequestContext({ project_id: 'p', user_id: 'u' })
const SOON = { timeoutMs: 60_000, intervalMs: 100 }

/** A database as it is now, under another name: a template is copied while nobody is at it, and who comes back connects anew. */
async function backUp(original: string): Promise<string> {
  const url = new URL(original)
  const source = url.pathname.slice(1)
  const copy = `${inject('databasePrefix')}${randomUUID().replaceAll('-', '')}`
  await using server = await administer(inject('databaseUrl'))
  const leave = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()'
  await waitFor(async () => {
    await server.query(leave, [source])
    await server.query(`create database ${copy} template ${source}`)
  }, SOON)
  url.pathname = `/${copy}`
  return url.href
}

/** Ids of what was told, and has left, that is billed by, when this event is among it. */
async function toldUpTo(event: string, database: Queryable): Promise<readonly string[]> {
  const rows = await database.query<{ id: string; event: string }>(
    `select m ->> 'message_id' as id, m ->> 'event_type' as event from (select (body::jsonb ->> 'oslo.message')::jsonb as m from outbox_sent) sent
      where m ->> 'event_type' ~ '^instance\\.(create|power_off|power_on|delete)\\.end$'`,
  )
  if (!rows.some((row) => row.event === event)) throw new Error(`${event} has not left`)
  return rows.map(({ id }) => id)
}

it('a cloud that goes on with a backup of its database is billed for all that was told before and since, and what was numbered twice is named', async () => {
  await using ledgerDatabase = await createSoakDatabase(inject('databaseUrl'))
  await using cloud = await ProcessCloud.open()
  const original = cloud.env.SEVBUS_DATABASE_URL as string
  const services = (url: string) =>
    Promise.all(
      (['conductor', 'scheduler'] as const).map((service) =>
        cloud.worker(service, service, { SEVBUS_DATABASE_URL: url }),
      ),
    )
  const kill = async (...processes: readonly SevbusProcess[]) => {
    for (const process of processes) process.kill('SIGKILL')
    await Promise.all(processes.map((process) => process.exited()))
  }
  const biller = () => cloud.biller({ SEVBUS_BILL_DATABASE_URL: ledgerDatabase.url })

  const [first, before] = await Promise.all([biller(), services(original), cloud.compute('h1')])
  const { conductor } = await cloud.client({ hosts: 1 })
  const asked = { name: 'web', flavor: aFlavor(), image: anImage() }
  const { instances } = await conductor.buildInstances(context, asked)
  const [uuid] = instances.map((each) => each.uuid) as [string]
  const restsAs = (state: string) =>
    waitFor(async () => {
      const { instance } = await conductor.getInstance(context, { instance_uuid: uuid })
      if (instance.vm_state !== state || instance.task_state !== null) throw new Error(JSON.stringify(instance))
    }, SOON)
  /** Its conductor may find out only now that its database was away, and its host be first to say that the guest is off. */
  const stop = async () => {
    const ask = async () => {
      await conductor.stopInstance(context, { instance_uuid: uuid, clean_shutdown: false }).catch((error: unknown) => {
        if (!(error instanceof InstanceInvalidState)) throw error
      })
    }
    await waitFor(ask, SOON)
    await restsAs('stopped')
  }
  await restsAs('active')
  const backup = await backUp(original)
  await stop()
  const ledger = await openPostgres({ url: ledgerDatabase.url, poolSize: 2 })
  const stored = (ids: readonly string[]) =>
    waitFor(async () => {
      const rows = await ledger.query('select from usage_facts where message_id = any($1)', [ids])
      if (rows.length < ids.length) throw new Error(`${rows.length} of ${ids.length} are in the ledger`)
    }, SOON)
  const toldBefore = await waitFor(() => toldUpTo('instance.power_off.end', cloud.database), SOON)
  await stored(toldBefore)
  await waitFor(async () => {
    const { sequence } = (await new Ledger(ledger).followed.positions.read([uuid])).get(uuid) ?? {}
    if (sequence !== 4) throw new Error(`the biller is at ${sequence}`)
  }, SOON)
  await kill(first, ...before)

  // The biller is away until they have counted past what it knows.
  await services(backup)
  await stop()
  await conductor.startInstance(context, { instance_uuid: uuid })
  await restsAs('active')
  await conductor.deleteInstance(context, { instance_uuid: uuid })
  const restored = await openPostgres({ url: backup, poolSize: 2 })
  const toldSince = await waitFor(() => toldUpTo('instance.delete.end', restored), SOON)
  await biller()
  await stored(toldSince)

  const { countedBack, ...found } = await checkLedger(new Ledger(ledger))
  expect(countedBack).toMatchObject([{ instance_uuid: uuid, reached: 4 }])
  expect(countedBack[0]?.last_sequence).toBeGreaterThanOrEqual(8)
  expect(found).toMatchObject({ sharedIds: [], unread: [], lost: [] })
  expect(new Set(found.disagreements.map(({ kind }) => kind))).toEqual(new Set(['number twice']))
  for await (const { facts } of new Ledger(ledger).instances()) {
    expect(facts.map(({ message_id }) => message_id).sort()).toEqual([...new Set([...toldBefore, ...toldSince])].sort())
    const [end] = facts.filter(({ kind }) => kind === 'ends')
    expect(usageRecords(facts).at(-1)?.to).toBe(end?.terminated_at)
  }
  await Promise.all([restored.close(), ledger.close()])
}, 240_000)
