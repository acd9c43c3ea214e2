import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { allMigrations } from '../dist/compose/migrations.js'
import type { Database } from '../dist/database/database.js'
import { migrate } from '../dist/database/migrate.js'
import { openPglite } from '../dist/database/pglite.js'
import { openPostgres } from '../dist/database/postgres.js'
import { DatabasePlacement } from '../dist/scheduler/placement/placement.js'
import { startInstalledPostgres } from '../test/servers/installed-postgres.ts'
import { cpuMsOf, ownCpuMs } from './cpu.ts'

const HELP = `Claims hosts for encrypted guests (VCPU, MEMORY_MB, DISK_GB and a slot) as fast as it can, beside the plainest way to
do it in the same database, in turns, and prints ratios.

  npm run bench:claims -- [--rounds N] [--seconds S] [--hosts N] [--in-flight N]
`
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    hosts: { type: 'string', default: '1000' },
    'in-flight': { type: 'string', default: '16' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const HOSTS = Number(values.hosts)
const IN_FLIGHT = Number(values['in-flight'])

/** One way to claim: the nth claim, on some host. */
interface Way {
  readonly title: string
  readonly inFlight: number
  claim(host: string): Promise<unknown>
}

const CLASSES = [
  ['VCPU', 2],
  ['MEMORY_MB', 2048],
  ['DISK_GB', 20],
  ['MEM_ENCRYPTION_CONTEXT', 1],
] as const

/** As many hosts by name as travel, with what the built-in weighers say of each. */
const REPORT = {
  hosts_considered: HOSTS,
  rejected: [{ filter: 'MemEncryptionModel', hosts: HOSTS / 2 }],
  rejections: Array.from({ length: 20 }, (_, n) => ({
    host: `compute-${n}.example.org`,
    filter: 'MemEncryptionModel',
    reason: 'offers no SEV-SNP: the kernel runs without kvm_amd.sev_snp=1',
  })),
  ranking: Array.from({ length: 20 }, (_, n) => ({
    host: `compute-${100 + n}.example.org`,
    weight: 4.25 - n / 10,
    weights: { RAM: 0.8125, CPU: 0.75, MemEncryptionContext: 2.6875 },
  })),
}

function provider(host: string, resourceClass: string): string {
  return resourceClass === 'MEM_ENCRYPTION_CONTEXT' ? `${host}_amd_sev` : host
}

async function prepare(database: Database): Promise<void> {
  await migrate(database, allMigrations)
  await database.query(
    `insert into compute_hosts (host, facts, root_provider, report_interval_seconds, report_digest, settled, last_seen_up)
     select 'cn-' || n, '{}', 'cn-' || n, 10, '', true, now() from generate_series(1, $1::integer) n`,
    [HOSTS],
  )
  await database.query(`insert into resource_providers (name, host) select host, host from compute_hosts`)
  await database.query(
    `insert into resource_providers (name, host, parent_name) select host || '_amd_sev', host, host from compute_hosts`,
  )
  await database.query(
    `insert into inventories (provider, resource_class, total, reserved, min_unit, max_unit, step_size, allocation_ratio)
     select case c when 'MEM_ENCRYPTION_CONTEXT' then host || '_amd_sev' else host end, c, 1000000000, 0, 1, 1000000, 1, 1
       from compute_hosts, unnest(array['VCPU', 'MEMORY_MB', 'DISK_GB', 'MEM_ENCRYPTION_CONTEXT']) c`,
  )
  // The same without a rule: what a program does that trusts itself.
  await database.query(`create table plain_inventories (like inventories including all);
    insert into plain_inventories select * from inventories;
    create table plain_allocations (consumer uuid, provider text, resource_class text, amount integer,
                                    primary key (consumer, provider, resource_class));
    alter table plain_inventories set (fillfactor = 70);
    create table plain_consumers (uuid uuid primary key, attempt integer, host text, report json);
    create index on plain_consumers (host)`)
  await database.query('vacuum analyze').catch(() => {})
}

function ours(database: Database): Way {
  const placement = new DatabasePlacement(database)
  return {
    title: 'claims in groups',
    inFlight: IN_FLIGHT,
    claim: (host) =>
      placement.grant({
        instance_uuid: randomUUID(),
        selection: {
          host,
          attempt: 1,
          allocations: CLASSES.map(([resource_class, amount]) => ({
            provider: provider(host, resource_class),
            resource_class,
            amount,
            ...(resource_class === 'MEMORY_MB' && { pinned: true }),
          })),
          report: REPORT,
        },
      }),
  }
}

const UPDATE = `update plain_inventories i set used = used + a.amount
   from (values ($1, 'VCPU', $2::integer), ($1, 'MEMORY_MB', $3), ($1, 'DISK_GB', $4),
                ($5, 'MEM_ENCRYPTION_CONTEXT', 1)) as a (provider, resource_class, amount)
  where i.provider = a.provider and i.resource_class = a.resource_class and i.used + a.amount <= i.total - i.reserved`
const INSERT = `insert into plain_allocations values ($6, $1, 'VCPU', $2), ($6, $1, 'MEMORY_MB', $3), ($6, $1, 'DISK_GB', $4),
   ($6, $5, 'MEM_ENCRYPTION_CONTEXT', 1)`

function amounts(host: string): readonly unknown[] {
  return [host, 2, 2048, 20, `${host}_amd_sev`]
}

/** As many reasons as a claim keeps (src/scheduler/placement/claim-group.ts). */
const KEPT = JSON.stringify({
  ...REPORT,
  rejections: REPORT.rejections.slice(0, 3),
  ranking: REPORT.ranking.slice(0, 3),
})

/**
 * begin, UPDATE … WHERE, INSERT, commit: what somebody takes, and no more. A claim also says for which try on which host,
 * why there, and to schedulers that the host has changed; `isWhole` writes the first two of these, too.
 */
function plainTransactions(pool: pg.Pool, isWhole: boolean): Way {
  return {
    title: isWhole ? 'the same with try, host and reasons' : 'a plain transaction each',
    inFlight: IN_FLIGHT,
    async claim(host) {
      const client = await pool.connect()
      const uuid = randomUUID()
      try {
        await client.query('begin')
        if (isWhole) await client.query('insert into plain_consumers values ($1, 1, $2, $3)', [uuid, host, KEPT])
        await client.query(UPDATE, amounts(host) as unknown[])
        await client.query(INSERT, [...amounts(host), uuid])
        await client.query('commit')
      } finally {
        client.release()
      }
    },
  }
}

/** The same of one inventory and one allocation. */
function smallTransactions(pool: pg.Pool): Way {
  return {
    title: 'a plain transaction each, of one inventory only',
    inFlight: IN_FLIGHT,
    async claim(host) {
      const client = await pool.connect()
      try {
        await client.query('begin')
        await client.query(
          `update plain_inventories set used = used + $2 where provider = $1 and resource_class = 'VCPU'
             and used + $2 <= total - reserved`,
          [host, 2],
        )
        await client.query(`insert into plain_allocations values ($1, $2, 'VCPU', $3)`, [randomUUID(), host, 2])
        await client.query('commit')
      } finally {
        client.release()
      }
    },
  }
}

/** One row and its commit, one at a time: what a group of claims waits for the disk, at least. */
function bareCommits(pool: pg.Pool): Way {
  return {
    title: 'a commit of one row, one at a time',
    inFlight: 1,
    claim: (host) => pool.query('insert into plain_allocations values ($1, $2, $3, 1)', [randomUUID(), host, 'VCPU']),
  }
}

/** One statement that takes what is asked and writes it down. */
function bareStatement(database: Database): Way {
  return {
    title: 'a bare statement each',
    inFlight: 1,
    claim: (host) =>
      database.query(`with taken as (${UPDATE} returning 1) ${INSERT}`, [...amounts(host), randomUUID()]),
  }
}

interface Turn {
  readonly perSecond: number
  readonly cpuMs: number
  readonly p99Ms: number
}

async function turn(way: Way, cpu: () => Promise<number>): Promise<Turn> {
  const [cpuBefore, started] = [await cpu(), performance.now()]
  const until = started + Number(values.seconds) * 1000
  const latencies: number[] = []
  await Promise.all(
    Array.from({ length: way.inFlight }, async () => {
      while (performance.now() < until) {
        const before = performance.now()
        await way.claim(`cn-${1 + Math.floor(Math.random() * HOSTS)}`)
        latencies.push(performance.now() - before)
      }
    }),
  )
  const seconds = (performance.now() - started) / 1000
  latencies.sort((a, b) => a - b)
  return {
    perSecond: latencies.length / seconds,
    cpuMs: ((await cpu()) - cpuBefore) / latencies.length,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
  }
}

async function compare(ways: readonly Way[], cpu: () => Promise<number>): Promise<void> {
  const turns = ways.map((): Turn[] => [])
  for (let round = 0; round <= Number(values.rounds); round++) {
    for (const [n, way] of ways.entries()) {
      const measured = await turn(way, cpu)
      // The first round only warms.
      if (round > 0) turns[n]?.push(measured)
    }
  }
  const of = (n: number, what: keyof Turn) => median((turns[n] ?? []).map((one) => one[what]))
  for (const [n, way] of ways.entries()) {
    const ours = (what: keyof Turn) =>
      geometricMean((turns[0] ?? []).map((one, round) => one[what] / (turns[n]?.[round]?.[what] ?? Number.NaN)))
    const ratio = n === 0 ? '' : `  ours is ${ours('perSecond')} of it, for ${ours('cpuMs')} of the CPU`
    console.log(
      `  ${way.title.padEnd(48)} ${of(n, 'perSecond').toFixed(0).padStart(6)}/s  ${of(n, 'cpuMs').toFixed(3)} ms CPU  p99 ${of(n, 'p99Ms').toFixed(1)} ms${ratio}`,
    )
  }
}

/** Of the ratios of turns beside each other: neighbours make a machine fast and slow by the minute. */
function geometricMean(ratios: readonly number[]): string {
  return Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length).toFixed(2)
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}

const server = await startInstalledPostgres({ durable: true })
if (server !== undefined) {
  const { url } = server
  const database = await openPostgres({ url, poolSize: 20 })
  await prepare(database)
  const pool = new pg.Pool({ connectionString: url, max: IN_FLIGHT })
  pool.on('error', () => {})
  console.log(`${database.description}, ${HOSTS} hosts, ${IN_FLIGHT} in flight`)
  await compare(
    [
      ours(database),
      plainTransactions(pool, false),
      plainTransactions(pool, true),
      smallTransactions(pool),
      bareCommits(pool),
    ],
    () => cpuMsOf(url),
  )
  await pool.end()
  await database.close()
  await server.close()
}

const embedded = await openPglite()
await prepare(embedded)
console.log(`${embedded.description}, ${HOSTS} hosts, ${IN_FLIGHT} in flight`)
await compare([ours(embedded), bareStatement(embedded)], async () => ownCpuMs())
await embedded.close()
