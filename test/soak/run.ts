import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { allMigrations } from '../../src/compose/migrations.ts'
import { migrate } from '../../src/database/migrate.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import type { PrivateServer } from '../../src/servers/private-server.ts'
import { ServerHome } from '../../src/servers/server-home.ts'
import { thisMachine } from '../servers/machine.ts'
import { RunningCloud } from '../support/running-cloud.ts'
import { audit } from './auditor.ts'
import { type SoakBroker, startSoakBroker } from './broker.ts'
import { createSoakDatabase } from './database.ts'
import { Line } from './line.ts'
import { report } from './report.ts'
import { soak } from './soak.ts'
import { RIGHT, storm } from './storm/storm.ts'

const HELP = `Sends calls, casts and notifications between processes while the broker is restarted twice, connections break in
every way, queues are deleted and processes are killed; then compares what was sent with what was received. Then 100 claimants
come at once for 15 encryption slots of a cloud of workers, and bursts of boots, resizes, migrations, shelvings and deletions while
its schedulers and conductors are killed, workers of hosts, sevbus bill, and the broker; then audits it, looks at the tables by
SQL of its own, and holds the bill against what ran, where and as what.

  npm run soak -- [options]

  --messages N    at least so many (default 100000)
  --rate N        messages begun in a second (default 1200)
  --processes N   senders and servers together (default 4)
  --faults N      beside one of each kind (default 20)
  --bursts N      of boots and moves, with four kills or more each, the broker in each fifth (default 40)
  --only WHAT     bus, or storm: the one or the other (default: both)
  --seed N        the same seed, the same faults (default: another one each time, printed)
  --keep          ledgers and logs stay although nothing is wrong

A private RabbitMQ is started and stopped. PostgreSQL is the one of SEVBUS_TEST_DATABASE_URL, or a private one.
Exit code 1: something was lost, done twice, hung, memory grew, or what is claimed is not what runs. Ledgers and logs of the
bus are kept.
`

const MEGABYTE = 1024 * 1024
const LIMITS = { slackMs: 2_000, growthBytes: 6 * MEGABYTE, recoveryMs: 10_000, answeredPart: 0.6 }

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '100000' },
    rate: { type: 'string', default: '1200' },
    processes: { type: 'string', default: '4' },
    bursts: { type: 'string', default: '40' },
    only: { type: 'string' },
    faults: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  say(HELP)
  process.exit(0)
}
process.exitCode = (await main()) ? 0 : 1

async function main(): Promise<boolean> {
  await using postgres = await findPostgres()
  await using broker = await startSoakBroker({ tell: say })
  if (postgres === undefined || broker === undefined) {
    say('not run: it needs a PostgreSQL and a RabbitMQ that it may restart: apt-get install rabbitmq-server postgresql')
    return false
  }
  const seed = Number(values.seed)
  say(`seed ${seed}, ${broker.description}, ${postgres.description}`)
  const ofBus = values.only === 'storm' || (await busHolds(broker, postgres.url, seed))
  const ofClaims = values.only === 'bus' || (await claimsHold(broker, postgres.url, seed))
  return ofBus && ofClaims
}

async function busHolds(broker: SoakBroker, postgresUrl: string, seed: number): Promise<boolean> {
  await using database = await createSoakDatabase(postgresUrl)
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-soak-'))
  const half = Number(values.processes) / 2
  const result = await soak({
    broker,
    databaseUrl: database.url,
    folder,
    seed,
    messages: Number(values.messages),
    messagesPerSecond: Number(values.rate),
    maxInFlight: 256,
    senders: Math.ceil(half),
    servers: Math.max(2, Math.floor(half)),
    listeners: 2,
    disturbedPart: 0.6,
    quietMs: LIMITS.recoveryMs + 10_000,
    moreFaults: Number(values.faults),
    tell: say,
  })
  const violations = audit(result.evidence, LIMITS)
  say(`\n${report(result)}\n`)
  if (violations.length === 0) {
    if (values.keep) say(`ledgers in ${folder}`)
    else await rm(folder, { recursive: true })
    say(`seed ${seed}: nothing lost, nothing twice, nothing hung`)
    return true
  }
  say(`seed ${seed}, ledgers in ${folder}:\n${violations.map((violation) => `  ${violation}`).join('\n')}`)
  return false
}

async function claimsHold(broker: SoakBroker, postgresUrl: string, seed: number): Promise<boolean> {
  await using created = await createSoakDatabase(postgresUrl)
  await using ledger = await createSoakDatabase(postgresUrl)
  const database = await openPostgres({ url: created.url, poolSize: 4 })
  await migrate(database, allMigrations)
  await using line = await Line.to(() => broker.url)
  const home = await ServerHome.create('storm')
  await using cloud = new RunningCloud({
    amqpUrl: line.through(broker.url),
    databaseUrl: created.url,
    database,
    folder: home.folder,
    async dispose() {
      await database.close()
      await home.close()
    },
  })
  const outcome = await storm({
    cloud,
    restartBroker: () => broker.restart('SIGKILL'),
    ledgerUrl: ledger.url,
    seed,
    bursts: Number(values.bursts),
    tell: say,
  })
  const { instances, kills, moves, brokerKills, ...rest } = outcome
  const isRight = isDeepStrictEqual(rest, RIGHT)
  const moved = `${moves.arrived} resized or migrated, ${moves.reverted} of them back`
  const killed = `${kills} kills, the broker's ${brokerKills}`
  say(`seed ${seed}: ${instances} instances, ${moved}, ${killed}: ${isRight ? 'every claim is what runs' : ''}`)
  if (!isRight) say(JSON.stringify(rest, undefined, 2))
  return isRight
}

async function findPostgres(): Promise<(PrivateServer & AsyncDisposable) | undefined> {
  const { given, docker, installed } = await thisMachine()
  for (const way of [given, docker, installed]) {
    const server = await way('postgres', { tell: say })
    if (server) return { ...server, [Symbol.asyncDispose]: () => server.close() }
  }
  return undefined
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
