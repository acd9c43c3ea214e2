import type { SevbusClient } from '../../src/client.ts'
import type { SevbusProcess } from '../../test/support/sevbus-process.ts'
import { cpuMsOf, mainThreadMs, ownCpuMs } from '../cpu.ts'
import { brokerPid, cpuSecondsOf } from '../turn.ts'
import { type BenchCloud, median, openBenchCloud } from './bench-cloud.ts'
import { type Counted, countMessages } from './count-messages.ts'
import { openFloor } from './floor.ts'
import type { FloorSettings } from './floor-role.ts'
import { profilingIn, tellProfilers } from './profiling.ts'
import { BootListener, bootAll, HUGE, removeAll, warmUp } from './simulated-boots.ts'

const AIM_CPU_MS = 6
const AIM_MESSAGES = 12
const COUNTED = 20
/** Of those in flight, so that most of what is counted has others beside it. */
const COUNTED_FOR_EACH = 4

interface Options {
  /** Until compilers have come to rest, whose threads a worker that lives for days does not pay for. */
  readonly warmUp: number
  readonly boots: number
  readonly rounds: number
  readonly inFlight: readonly number[]
  readonly profileFolder?: string | undefined
}

/** Milliseconds of CPU of one boot, by who spent them. */
type Cost = Readonly<Record<'api tier' | 'conductor' | 'scheduler' | 'compute' | 'broker' | 'database', number>>

/** Whole boots on a simulated host: what they cost all processes, and how many messages they are. */
export async function benchSimulatedHost({
  warmUp: warmUpBoots,
  boots,
  rounds,
  inFlight,
  profileFolder,
}: Options): Promise<void> {
  const profiled = profilingIn(profileFolder)
  // As whoever expects so many sets it: boots beyond it wait at the broker, which is a message more for each.
  const hands = { SEVBUS_TRANSPORT_CONCURRENCY: String(Math.max(32, ...inFlight)) }
  await using bench = await openBenchCloud()
  const { cloud, broker } = bench
  const [compute, conductor, scheduler] = await Promise.all([
    cloud.compute('h1', { ...HUGE, ...profiled }),
    cloud.worker('conductor', 'c1', { ...hands, ...profiled }),
    cloud.worker('scheduler', 's1', { ...hands, ...profiled }),
  ])
  const client = await cloud.client({ hosts: 1 })
  const listener = await BootListener.open(bench)
  const workers = [conductor, scheduler, compute] as const
  const cloudOf = { bench, client, listener, workers }
  try {
    await warmUp(bench, client, listener, { boots: warmUpBoots, inFlight: Math.max(...inFlight) })
    for (const width of inFlight) {
      const measured: Round[] = []
      for (let round = 0; round < rounds; round++) {
        measured.push(await oneRound(cloudOf, boots, width, profileFolder !== undefined))
      }
      showCosts(
        `${width} in flight, ${rounds} rounds of ${boots} boots`,
        measured.map(({ cost }) => cost),
      )
      console.log(
        `  of it the workers' compilers, collectors and files: ${named(measured.map(({ helpers }) => helpers))}`,
      )
      const transactions = median(measured.map((round) => round.transactions))
      console.log(`  about ${transactions.toFixed(1)} transactions a boot, idle looking included`)
    }
    const counts = await countMessages(broker, async () => {
      await bootAll(client, listener, COUNTED, 1)
    })
    showMessages(counts, COUNTED, 1)
    const most = Math.max(...inFlight)
    if (most > 1) {
      const boots = COUNTED_FOR_EACH * most
      const together = await countMessages(broker, async () => {
        await bootAll(client, listener, boots, most)
      })
      showMessages(together, boots, most)
    }
    for (const queueType of ['quorum', 'classic'] as const) {
      await benchFloor(bench, {
        queueType,
        counts,
        warmUp: warmUpBoots,
        boots,
        rounds,
        inFlight: Math.max(...inFlight),
      })
    }
  } finally {
    await listener.close()
  }
}

interface BootingCloud {
  readonly bench: BenchCloud
  readonly client: SevbusClient
  readonly listener: BootListener
  readonly workers: readonly [conductor: SevbusProcess, scheduler: SevbusProcess, compute: SevbusProcess]
}

/** Of one boot. */
interface Round {
  readonly cost: Cost
  readonly helpers: Helpers
  readonly transactions: number
}

async function oneRound(
  { bench, client, listener, workers }: BootingCloud,
  boots: number,
  width: number,
  isProfiled: boolean,
): Promise<Round> {
  const { cloud, broker, databaseUrl } = bench
  const [conductor, scheduler, compute] = workers
  const pids = { conductor: conductor.pid, scheduler: scheduler.pid, compute: compute.pid }
  if (isProfiled) tellProfilers(workers)
  const [committed, helped, before] = [
    await commitsIn(cloud),
    helpersOf(pids),
    await cpuOf(pids, broker.url, databaseUrl),
  ]
  const uuids = await bootAll(client, listener, boots, width)
  const [after, helpedAfter] = [await cpuOf(pids, broker.url, databaseUrl), helpersOf(pids)]
  if (isProfiled) tellProfilers(workers)
  const transactions = ((await commitsIn(cloud)) - committed) / boots
  await removeAll(bench, client, uuids)
  return { cost: perBoot(before, after, boots), helpers: perBoot(helped, helpedAfter, boots), transactions }
}

interface FloorOptions {
  readonly queueType: FloorSettings['queueType']
  /** Of a real boot. */
  readonly counts: ReadonlyMap<string, Counted>
  readonly warmUp: number
  readonly boots: number
  readonly rounds: number
  readonly inFlight: number
}

/** What of it is the messages and the commits alone. */
async function benchFloor(
  { cloud, broker, databaseUrl }: BenchCloud,
  { queueType, counts, warmUp, boots, rounds, inFlight }: FloorOptions,
) {
  const sizes = [...counts].map(([name, { count, bytes }]) => [
    name.replace('notification ', ''),
    Math.round(bytes / count),
  ])
  const { folder } = cloud
  await cloud.database.query('create table if not exists floor (id uuid, kind text, body text)')
  const floor = await openFloor({
    amqpUrl: broker.url,
    databaseUrl,
    queueType,
    folder,
    bytes: Object.fromEntries(sizes),
  })
  const [costs, transactions]: [Cost[], number[]] = [[], []]
  await floor.bootAll(warmUp, inFlight)
  for (let round = 0; round < rounds; round++) {
    const [committed, before] = [await commitsIn(cloud), await cpuOf(floor.pids, broker.url, databaseUrl)]
    await floor.bootAll(boots, inFlight)
    costs.push(perBoot(before, await cpuOf(floor.pids, broker.url, databaseUrl), boots))
    transactions.push(((await commitsIn(cloud)) - committed) / boots)
  }
  await floor.close()
  showCosts(`its messages and commits alone, ${queueType} queues, ${inFlight} in flight`, costs)
  console.log(`  about ${median(transactions).toFixed(1)} transactions a boot`)
}

async function cpuOf(
  { conductor, scheduler, compute }: Readonly<Record<'conductor' | 'scheduler' | 'compute', number>>,
  brokerUrl: string,
  databaseUrl: string,
): Promise<Cost> {
  return {
    'api tier': ownCpuMs(),
    conductor: cpuSecondsOf(conductor) * 1000,
    scheduler: cpuSecondsOf(scheduler) * 1000,
    compute: cpuSecondsOf(compute) * 1000,
    broker: cpuSecondsOf(brokerPid(brokerUrl)) * 1000,
    database: (await cpuMsOf(databaseUrl)) - ownCpuMs(),
  }
}

/** A backend tells its own at most once a second, so a few of the last are missing. */
async function commitsIn({ database }: BenchCloud['cloud']): Promise<number> {
  const sql = 'select xact_commit::int as count from pg_stat_database where datname = current_database()'
  const [row] = await database.query<{ count: number }>(sql)
  return row?.count ?? Number.NaN
}

/** CPU of a worker's threads but the first, which runs JavaScript. */
type Helpers = Readonly<Record<'conductor' | 'scheduler' | 'compute', number>>

function helpersOf({ conductor, scheduler, compute }: Helpers): Helpers {
  const ofHelpers = (pid: number) => cpuSecondsOf(pid) * 1000 - mainThreadMs(pid)
  return { conductor: ofHelpers(conductor), scheduler: ofHelpers(scheduler), compute: ofHelpers(compute) }
}

function perBoot<Who extends string>(
  before: Readonly<Record<Who, number>>,
  after: Readonly<Record<Who, number>>,
  boots: number,
) {
  const whos = Object.keys(after) as Who[]
  return Object.fromEntries(whos.map((who) => [who, (after[who] - before[who]) / boots])) as Record<Who, number>
}

/** The median of each. */
function named<Who extends string>(rounds: readonly Readonly<Record<Who, number>>[]): string {
  const whos = Object.keys(rounds[0] ?? {}) as Who[]
  return whos.map((who) => `${who} ${median(rounds.map((round) => round[who])).toFixed(2)}`).join(', ')
}

function showCosts(title: string, costs: readonly Cost[]): void {
  const totals = costs.map((cost) => Object.values(cost).reduce((sum, each) => sum + each, 0))
  console.log(`${title}: ms of CPU a boot: ${named(costs)}`)
  const [least, most] = [Math.min(...totals), Math.max(...totals)].map((total) => total.toFixed(2))
  console.log(`  in all ${median(totals).toFixed(2)} (${least} to ${most}), aim <= ${AIM_CPU_MS}`)
}

/** Signs of life and checks of the bus itself go by the clock, and not by boots. */
const BY_THE_CLOCK = /^(report_host|report_host_unchanged|announce_host|oslo_rpc_server_ping)$/

function showMessages(counts: ReadonlyMap<string, Counted>, boots: number, inFlight: number): void {
  const all = [...counts].map(([name, { count }]) => ({ name, each: count / boots }))
  const rpc = all.filter(({ name }) => !name.startsWith('notification ') && !BY_THE_CLOCK.test(name))
  const shown = (some: typeof all) => some.map(({ name, each }) => `${name} ${each.toFixed(2)}`).join(', ')
  const sum = rpc.reduce((total, { each }) => total + each, 0)
  console.log(`RPC messages a boot, ${inFlight} in flight: ${sum.toFixed(2)}, aim <= ${AIM_MESSAGES} (${shown(rpc)})`)
  console.log(`  besides: ${shown(all.filter((entry) => !rpc.includes(entry)))}`)
}
