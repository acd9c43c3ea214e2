import pg from 'pg'
import { openPostgres } from '../../dist/database/postgres.js'
import { openScheduler, select } from './requests.ts'

// A process of its own, so that nothing is warm: `ours URL` until the first request is served, `bare URL` only reads.
const [way, url = ''] = process.argv.slice(2)

/** The rows that a scheduler reads at its start, as one does who wants nothing but them. */
const ROWS = [
  `select h.*, (select count(*) from consumers c where c.host = h.host) as instances from compute_hosts h`,
  `select p.host, p.name, array(select t.trait from provider_traits t where t.provider = p.name) from resource_providers p`,
  'select * from inventories',
]

async function ours(): Promise<number> {
  const database = await openPostgres({ url, poolSize: 4 })
  const began = performance.now()
  const { manager } = await openScheduler(database)
  await select(manager, 1)
  const took = performance.now() - began
  await manager.close()
  await database.close()
  return took
}

async function bare(): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const began = performance.now()
  for (const rows of ROWS) await client.query(rows)
  const took = performance.now() - began
  await client.end()
  return took
}

console.log(await (way === 'ours' ? ours() : bare()))
