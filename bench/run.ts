import { parseArgs } from 'node:util'
import { startInstalledRabbitMq } from '../src/servers/installed-rabbitmq.ts'
import { startInstalledPostgres } from '../test/servers/installed-postgres.ts'
import { CALLS, CONSUMERS, EVENT_PEERS, type Peer, STORED_PEERS } from './peers.ts'
import { runTurn, type Turn, type TurnOptions } from './turn.ts'

const HELP = `Measures sevbus beside its peers on one RabbitMQ, in turns, and prints ratios.

  npm run bench -- [options]

  --rounds N       turns of each peer (default 3; the median counts)
  --calls N        calls of a turn at 256 in flight (default 12000)
  --only A,B       these peers: sevbus, amqplib, amqplib-tuned, floor, nestjs, oslo.messaging, outbox, spool, bare-outbox
  --sets A,B       calls, sequential, events (default: these), stored, consumers (npm run bench:notifications)
  --queue TYPE     quorum (default) or classic
  --url URL        a broker on this machine; without it a private one is started and stopped

CPU is seconds of client, server and broker together for 10,000 calls: on a busy machine it is far steadier than time.
NestJS is installed apart: npm ci --prefix bench. oslo.messaging is Debian's package python3-oslo.messaging.
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    calls: { type: 'string', default: '12000' },
    only: { type: 'string' },
    sets: { type: 'string', default: 'calls,sequential,events' },
    queue: { type: 'string', default: 'quorum' },
    url: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const calls = Number(values.calls)
const SETS = [
  {
    name: 'calls',
    title: 'calls, 256 in flight: CPU',
    peers: CALLS,
    inFlight: 256,
    calls,
    by: cpuOf,
    aims: { amqplib: 0.85, nestjs: 0.7, 'oslo.messaging': 0.08 },
  },
  {
    name: 'sequential',
    title: 'calls, one at a time: p50',
    peers: CALLS,
    inFlight: 1,
    calls: calls / 10,
    by: p50Of,
    aims: { amqplib: 1.2 },
  },
  {
    name: 'events',
    title: 'events of 3 KB, 32 in flight: CPU',
    peers: EVENT_PEERS,
    inFlight: 32,
    calls,
    by: cpuOf,
    aims: { amqplib: 0.6, 'oslo.messaging': 0.2 },
  },
  {
    name: 'stored',
    title: 'notifications of 3 KB that are stored first, 32 in flight: CPU without the server',
    ours: ['outbox', 'spool'],
    peers: STORED_PEERS,
    inFlight: 32,
    calls,
    by: ({ cpu }) => cpu.total - cpu.server,
    aims: { amqplib: 1.5, 'oslo.messaging': 0.3 },
  },
  {
    name: 'consumers',
    title: 'notifications read, 32 in flight: CPU of the server',
    peers: CONSUMERS,
    inFlight: 32,
    calls,
    by: ({ cpu }) => cpu.server,
    aims: { amqplib: 1.5 },
  },
] satisfies readonly BenchSet[]

interface BenchSet {
  readonly name: string
  readonly title: string
  readonly peers: readonly Peer[]
  readonly inFlight: number
  readonly calls: number
  /** Those that are compared with the others; without it sevbus. */
  readonly ours?: readonly string[]
  /** What the ratio is of. */
  readonly by: (turn: Turn) => number
  /** The ratio wanted, at most. */
  readonly aims: Readonly<Record<string, number>>
}

function cpuOf(turn: Turn): number {
  return turn.cpu.total
}

function p50Of(turn: Turn): number {
  return turn.p50Ms
}

const chosen = (peer: Peer) => values.only === undefined || values.only.split(',').includes(peer.name)
const queueType: TurnOptions['queueType'] = values.queue === 'classic' ? 'classic' : 'quorum'
const broker = values.url === undefined ? await startInstalledRabbitMq() : undefined
const amqpUrl = values.url ?? broker?.url
const withDatabase = values.sets.split(',').includes('stored')
const database = withDatabase ? await startInstalledPostgres({ durable: true }) : undefined
if (amqpUrl === undefined) throw new Error('no RabbitMQ here: install rabbitmq-server, or give --url')

try {
  console.log(`${queueType} queues on ${broker?.description ?? 'the broker given'}; ${values.rounds} rounds\n`)
  for (const set of SETS.filter(({ name }) => values.sets.split(',').includes(name))) {
    const peers = set.peers.filter(chosen)
    const turns = new Map<Peer, Turn[]>(peers.map((peer) => [peer, []]))
    for (let round = 1; round <= Number(values.rounds); round++) {
      for (const peer of peers) {
        process.stderr.write(`\r\x1b[K${set.title}: round ${round}, ${peer.name}`)
        const options = {
          ...{ amqpUrl, queueType, inFlight: set.inFlight, calls: Math.ceil(set.calls * (peer.part ?? 1)) },
          databaseUrl: set.name === 'stored' ? database?.url : undefined,
        }
        const turn = await runTurn(peer, options).catch((error: Error) => {
          process.stderr.write(`\r\x1b[K${peer.name} could not be measured: ${error.message}\n`)
        })
        if (turn) turns.get(peer)?.push(turn)
      }
    }
    process.stderr.write('\r\x1b[K')
    print(set, turns)
  }
} finally {
  await broker?.close()
  await database?.close()
}

function print({ title, by, aims, ours = ['sevbus'] }: BenchSet, turns: ReadonlyMap<Peer, readonly Turn[]>): void {
  const rows = [...turns].filter(([, measured]) => measured.length > 0)
  const compared = rows.filter(([{ name }]) => ours.includes(name))
  console.log(title)
  console.table(
    Object.fromEntries(
      rows.map(([peer, measured]) => [
        peer.name,
        {
          'CPU s / 10k': median(measured, cpuOf).toFixed(2),
          'client + server + broker + database': [
            median(measured, ({ cpu }) => cpu.client),
            median(measured, ({ cpu }) => cpu.server),
            median(measured, ({ cpu }) => cpu.broker),
            ...(measured.some(({ cpu }) => cpu.database > 0) ? [median(measured, ({ cpu }) => cpu.database)] : []),
          ]
            .map((part) => part.toFixed(2))
            .join(' + '),
          'per s': Math.round(median(measured, (turn) => (turn.calls / turn.wallMs) * 1000)),
          'p50 ms': median(measured, p50Of).toFixed(2),
          'p99 ms': median(measured, ({ p99Ms }) => p99Ms).toFixed(2),
          ...Object.fromEntries(
            compared.map(([{ name }, own]) => [`${name} / it`, (median(own, by) / median(measured, by)).toFixed(2)]),
          ),
          aim: aims[peer.name] === undefined ? '' : `<= ${aims[peer.name]}`,
        },
      ]),
    ),
  )
}

function median(turns: readonly Turn[], of: (turn: Turn) => number): number {
  const sorted = turns.map(of).toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] as number
}
