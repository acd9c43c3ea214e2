import { randomUUID } from 'node:crypto'
import { allMigrations } from '../../dist/compose/migrations.js'
import type { Database } from '../../dist/database/database.js'
import { migrate } from '../../dist/database/migrate.js'
import { openPostgres } from '../../dist/database/postgres.js'
import { DatabasePlacement } from '../../dist/scheduler/placement/placement.js'
import { aHostReport } from '../../test/support/host-reports.ts'

const SHAPES = 8
/** What is in use, as the fleet has it on a working day: between none and a half of each host. */
const HALF = 0.5

/** The nth host's report: eight shapes, of which half have encryption slots. */
export function reportOf(n: number) {
  const shape = n % SHAPES
  return aHostReport(hostName(n), {
    vcpus: [64, 96, 128, 256][shape % 4] as number,
    memoryMb: ([256, 384, 512, 1024][shape % 4] as number) * 1024,
    diskGb: 4000,
    slots: shape < SHAPES / 2 ? {} : { 'amd-sev': 15, 'amd-sev-es': 100 },
    report: { report_interval_seconds: 60, architecture: 'x86_64', io_ops: 0 },
  })
}

export function hostName(n: number): string {
  return `compute-${String(n).padStart(5, '0')}`
}

/** A database with so many hosts, each with some use of its own, that have just reported. */
export async function openFleet(url: string, hosts: number, poolSize = 16) {
  const admin = await openPostgres({ url, poolSize: 1 })
  const name = `fleet_${randomUUID().replaceAll('-', '')}`
  await admin.query(`create database ${name}`)
  const own = new URL(url)
  own.pathname = `/${name}`
  const database = await openPostgres({ url: own.href, poolSize })
  await migrate(database, allMigrations)
  await fill(database, hosts)
  return {
    url: own.href,
    database,
    async close() {
      await database.close()
      await admin.query(`drop database ${name} with (force)`)
      await admin.close()
    },
  }
}

async function fill(database: Database, hosts: number): Promise<void> {
  const placement = new DatabasePlacement(database)
  const shapes = Math.min(SHAPES, hosts)
  for (let n = 0; n < shapes; n++) await placement.recordHost(reportOf(n))
  // The others are copies of the first of their shape: by reports a large fleet takes minutes to fill.
  for (let n = 0; n < shapes; n++) await copy(database, n, hosts)
  await use(database)
  // Not all at the same moment, as if somebody had told them to.
  await database.query(`update compute_hosts set last_seen_up = now() - random() * interval '60 seconds'`)
  await database.query('vacuum analyze')
}

async function copy(database: Database, shape: number, hosts: number): Promise<void> {
  const [row] = await database.query<{ columns: string }>(
    `select string_agg(quote_ident(column_name), ', ') as columns from information_schema.columns
      where table_name = 'compute_hosts' and column_name not in ('host', 'root_provider')`,
  )
  const params = [hostName(shape), shape + SHAPES, hosts - 1, SHAPES]
  const copies = `generate_series($2::integer, $3::integer, $4::integer) n,
                  lateral (select 'compute-' || lpad(n::text, 5, '0') as host) as new`
  await database.query(
    `insert into compute_hosts (host, root_provider, ${row?.columns})
     select new.host, new.host, ${row?.columns.replaceAll(/(^|, )/g, '$1h.')} from compute_hosts h, ${copies}
      where h.host = $1`,
    params,
  )
  await database.query(
    `insert into resource_providers (name, host, parent_name)
     select replace(p.name, $1, new.host), new.host, replace(p.parent_name, $1, new.host)
       from resource_providers p, ${copies} where p.host = $1 order by p.parent_name nulls first`,
    params,
  )
  await database.query(
    `insert into provider_traits (provider, trait)
     select replace(t.provider, $1, new.host), t.trait
       from provider_traits t join resource_providers p on p.name = t.provider, ${copies} where p.host = $1`,
    params,
  )
  const amounts = 'total, reserved, min_unit, max_unit, step_size, allocation_ratio'
  await database.query(
    `insert into inventories (provider, resource_class, ${amounts})
     select replace(i.provider, $1, new.host), i.resource_class, ${amounts}
       from inventories i join resource_providers p on p.name = i.provider, ${copies} where p.host = $1`,
    params,
  )
}

/** One large consumer for each host: as much in use as many small ones would have. */
async function use(database: Database): Promise<void> {
  await database.query(
    `insert into consumers (uuid, attempt, host) select gen_random_uuid(), 1, host from compute_hosts`,
  )
  await database.query(
    `insert into allocations (consumer, provider, resource_class, amount)
     select c.uuid, i.provider, i.resource_class,
            1 + mod(abs(hashtext(i.provider || i.resource_class)::bigint), (i.total * $1::double precision)::bigint)
       from consumers c join inventories i on i.provider = c.host and i.resource_class <> 'MEM_ENCRYPTION_CONTEXT'`,
    [HALF],
  )
}
