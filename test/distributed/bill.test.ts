import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, inject, it, vi } from 'vitest'
import { ledgerMigrations } from '../../src/billing/ledger-schema.ts'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import { encodeEnvelope } from '../../src/rpc/envelope.ts'
import { told } from '../billing/told.ts'
import { databaseEngines } from '../support/databases.ts'
import { runHere } from '../support/run-here.ts'
import { SevbusProcess } from '../support/sevbus-process.ts'
import { MadeOnBroker, silent } from '../support/transports.ts'

const uuid = (n: number) => `178b0921-8f85-4257-88b6-${n.toString(16).padStart(12, '0')}`

/** One life each: a second longer than the one before. */
function lives(count: number) {
  return Array.from({ length: count }, (_, n) => {
    const terminated_at = `${new Date(Date.parse('2026-11-01T00:00:00Z') + (n + 1) * 1000).toISOString().slice(0, 19)}Z`
    return [
      told('instance.create.end', { uuid: uuid(n) }),
      told('instance.delete.end', { uuid: uuid(n), terminated_at }),
    ]
  })
}

/** A broker with names of this test, a folder, and `sevbus bill` beside them: `run` in a process that can be killed, all else in this one. */
async function aBillingHouse(env: Readonly<Record<string, string>> = {}) {
  const prefix = `t${randomBytes(6).toString('hex')}`
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-bill-'))
  const made = new MadeOnBroker(inject('amqpUrl'))
  const transport = made.record(new RabbitTransport({ url: inject('amqpUrl'), logger: silent }))
  await transport.connect(AbortSignal.timeout(20_000))
  const names = { exchange: `${prefix}-nova`, topic: `${prefix}-notifications` }
  const pool = `${prefix}-bill`
  made.listened({ kind: 'notifications', exchange: names.exchange, topics: [names.topic], priorities: ['info'], pool })
  const settings = {
    SEVBUS_TRANSPORT_URL: inject('amqpUrl'),
    SEVBUS_NOTIFICATIONS_EXCHANGE: names.exchange,
    SEVBUS_NOTIFICATIONS_TOPIC: names.topic,
    SEVBUS_BILL_FOLDER: join(folder, 'ledger'),
    SEVBUS_BILL_POOL: pool,
    ...env,
  }
  const processes: SevbusProcess[] = []
  return {
    folder,
    bill: (...args: string[]) => runHere(['bill', ...args], settings),
    /** Runs until it is told otherwise. */
    async running() {
      const process = new SevbusProcess(['bill', 'run'], settings)
      processes.push(process)
      await process.said('Ctrl-C ends it')
      return process
    },
    async publish(notifications: readonly object[]) {
      const to = { kind: 'notification', ...names, priority: 'info' } as const
      const bodies = notifications.map((each) => encodeEnvelope({ ...each }))
      await Promise.all(bodies.map((body) => transport.publish(to, { body, mandatory: false })))
    },
    async [Symbol.asyncDispose]() {
      for (const process of processes) process.kill('SIGKILL')
      await Promise.all(processes.map((process) => process.exited()))
      await transport.close()
      await made.remove()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const all = (seconds: number, instances: number) => ({
  lines: [{ project_id: 'blue', flavor: 'm1.sev', model: 'amd-sev', instances, seconds }],
  inferred: 0,
  unpriced: [],
  unread: [],
  shared_ids: [],
})

describe('sevbus bill', () => {
  it('killed again and again, bills each second once, by PostgreSQL', async () => {
    await using db = await (databaseEngines[1] as (typeof databaseEngines)[number]).open(ledgerMigrations)
    const [row] = await db.database.query<{ name: string }>('select current_database() as name')
    const url = new URL(inject('databaseUrl'))
    url.pathname = `/${row?.name}`
    await using house = await aBillingHouse({ SEVBUS_BILL_DATABASE_URL: url.href })
    const stored = async () => {
      const [count] = await db.database.query<{ n: number }>('select count(*)::int as n from usage_facts')
      return count?.n ?? 0
    }
    const count = 600

    let victim = await house.running()
    for (const chunk of [0, 1, 2, 3]) {
      const before = await stored()
      const some = lives(count).slice((chunk * count) / 4, ((chunk + 1) * count) / 4)
      await Promise.all([
        house.publish(some.flat()),
        vi.waitFor(async () => expect(await stored()).toBeGreaterThan(before), { timeout: 60_000 }),
      ])
      victim.kill('SIGKILL')
      await victim.exited()
      victim = await house.running()
    }

    await vi.waitFor(async () => expect(await stored()).toBe(2 * count), { timeout: 60_000 })
    victim.kill('SIGTERM')
    expect(await victim.exited()).toBe(0)
    const show = await house.bill('--json', 'show')
    expect(show.code).toBe(0)
    expect(JSON.parse(show.out)).toMatchObject(all((count * (count + 1)) / 2, count))
  })

  it('killed while it works, bills each second once, by its embedded database; twice told is once billed', async () => {
    await using house = await aBillingHouse()
    const count = 100
    const notifications = lives(count).flat()
    // Making the database is the longest part of a first start.
    const nothing = join(house.folder, 'nothing')
    await writeFile(nothing, '')
    expect((await house.bill('import', nothing)).code).toBe(0)

    for (let round = 0; round < 2; round++) {
      const victim = await house.running()
      await house.publish(notifications)
      victim.kill('SIGKILL')
      await victim.exited()
    }
    // Nobody else can look into an embedded database: run, stop and look, longer each time, until all is there.
    let patienceMs = 1000
    const look = async () => {
      const last = await house.running()
      await sleep(patienceMs)
      patienceMs *= 2
      last.kill('SIGTERM')
      expect(await last.exited()).toBe(0)
      const show = await house.bill('--json', 'show')
      expect(show.code).toBe(0)
      return JSON.parse(show.out)
    }
    const expected = all((count * (count + 1)) / 2, count)
    await vi.waitFor(async () => expect(await look()).toMatchObject(expected), { timeout: 120_000 })
  })

  it('reads notifications out of files, and writes what was used with its price, for a spreadsheet and for a program', async () => {
    await using house = await aBillingHouse()
    const [file, rates] = [join(house.folder, 'told.ndjson'), join(house.folder, 'rates.yaml')]
    const odd = told('instance.create.end', { uuid: uuid(7), project: '=cmd', flavor: { name: 'm1,"odd"' } })
    const end = { uuid: uuid(7), project: '=cmd', flavor: { name: 'm1,"odd"' }, terminated_at: '2026-11-01T02:00:00Z' }
    const notifications = [odd, told('instance.delete.end', end), told('scheduler.select_destinations.end')]
    await writeFile(file, notifications.map((each) => JSON.stringify(each)).join('\n'))
    await writeFile(rates, 'currency: EUR\ndefault: { per_hour: 1 }\nencryption: { amd-sev: { percent: 10 } }\n')
    const run = async (...args: string[]) => {
      const { code, out } = await house.bill(...args)
      return [code, out] as const
    }

    expect(await run('import', file, file)).toEqual([0, '6 notifications, 2 new facts stored, 0 could not be read\n'])
    const flavor = join(house.folder, 'flavor.json')
    await writeFile(flavor, '{"flavorid":"1","name":"m1.small"}')
    expect(await run('import', flavor)).toEqual([
      2,
      expect.stringContaining(`${flavor}, line 1, cannot be read: it is no notification`),
    ])
    expect(await run('export', '--rates', rates)).toEqual([
      0,
      [
        'instance_uuid,display_name,project_id,user_id,host,flavor,vcpus,memory_mb,model,state,from,to,seconds,inferred,base,surcharge,amount',
        `${uuid(7)},web-1,'=cmd,ada,node1,"m1,""odd""",2,4096,amd-sev,active,2026-11-01T00:00:00Z,2026-11-01T02:00:00Z,7200,false,2.000000,0.200000,2.200000`,
        '',
      ].join('\r\n'),
    ])
    const [code, lines] = await run('export', '--format', 'json', '--from', '2026-11-01T01:30:00Z')
    expect([code, JSON.parse(lines)]).toEqual([
      0,
      expect.objectContaining({ flavor: 'm1,"odd"', seconds: 1800, from: '2026-11-01T01:30:00Z', amount: null }),
    ])
    const [shown, text] = await run('show', '--rates', rates, '--month', '2026-11')
    expect([shown, text]).toEqual([0, expect.stringContaining('total 2.200000 EUR')])
    expect(await run('check')).toEqual([
      0,
      '0 disagreements with 0 audited periods, 0 ids of several instances, 0 notifications unread\n',
    ])
  })

  it('names what has no price, and says so by its exit code', async () => {
    await using house = await aBillingHouse()
    const [file, rates] = [join(house.folder, 'told.ndjson'), join(house.folder, 'rates.yaml')]
    await writeFile(file, JSON.stringify(told('instance.create.end')))
    await writeFile(rates, 'currency: EUR\ndefault: { per_hour: 1 }\n')

    expect((await house.bill('import', file)).code).toBe(0)
    const show = await house.bill('show', '--rates', rates)

    expect(show.code).toBe(6)
    expect(show.out).toContain('no price: the rate card lacks encryption.amd-sev')
    const month = await house.bill('show', '--month', '2026-13')
    expect([month.code, month.out]).toEqual([2, expect.stringContaining('write e.g. --month 2026-11')])
  })
})
