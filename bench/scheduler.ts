import { parseArgs } from 'node:util'
import { startInstalledPostgres } from '../test/servers/installed-postgres.ts'
import { benchBurst } from './scheduler/burst.ts'
import { benchReports } from './scheduler/reports.ts'
import { benchSelect } from './scheduler/select.ts'
import { benchStart } from './scheduler/start.ts'

const HELP = `Measures a scheduler on a private PostgreSQL that is durable (fsync, synchronous_commit), and prints ratios.

  npm run bench:scheduler -- [options]

  --only A,B       select, burst, reports, start (default: all)
  --hosts A,B      sizes of the fleet, smallest first (default 100,1000,10000; 50000 takes a minute more)
  --claims N       claims of a turn (default 1000)
  --rounds N       turns of each size (default 3; the median counts)
  --seconds N      how long a scheduler is watched at rest, and then in each of five turns with reports (default 10)
`
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'select,burst,reports,start' },
    hosts: { type: 'string', default: '100,1000,10000' },
    claims: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const server = await startInstalledPostgres({ durable: true })
if (server === undefined) throw new Error('install postgresql first')
const only = new Set(values.only.split(','))
try {
  const sizes = values.hosts.split(',').map(Number)
  if (only.has('select')) {
    await benchSelect({ url: server.url, sizes, claims: Number(values.claims), rounds: Number(values.rounds) })
  }
  if (only.has('burst')) await benchBurst(server.url, 1000, 1000)
  if (only.has('reports')) await benchReports(server.url, 10_000, Number(values.seconds))
  if (only.has('start')) await benchStart(server.url, 10_000)
} finally {
  await server.close()
}
