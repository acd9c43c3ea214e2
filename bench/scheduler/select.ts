import { randomUUID } from 'node:crypto'
import { cpuMsOf, ownCpuMs } from '../cpu.ts'
import { hostName, openFleet } from './fleet.ts'
import { drive, openScheduler, quantile, select } from './requests.ts'

interface Options {
  readonly url: string
  readonly sizes: readonly number[]
  readonly claims: number
  readonly rounds: number
}

const IN_FLIGHT = 16
/** Documented for OpenStack on such a machine: select_destinations at 1,000 hosts, of it CPU of the claim; at 100 hosts. */
const OPENSTACK = { selectMs: { 100: 107, 1000: 828 }, claimCpuMs: 22 }

interface Turn {
  readonly schedulerCpuMs: number
  readonly databaseCpuMs: number
  readonly aloneMs: number
  readonly bareCpuMs: number
  /** Of a scheduler that tells of each request, both processes. */
  readonly toldCpuMs: number
}

/** Of all turns together: of a thousand requests ten are the slowest hundredth, and one pause meets sixteen. */
interface Latencies {
  readonly ours: number[]
  readonly bare: number[]
}

/** Select and claim, end to end inside the scheduler, in fleets of several sizes, in turns. */
export async function benchSelect({ url, sizes, claims, rounds }: Options): Promise<void> {
  const fleets = []
  for (const size of sizes) fleets.push({ size, turns: [] as Turn[], ...(await prepare(url, size)) })
  for (const { turn, latencies } of fleets) {
    await turn(Math.ceil(claims / 2))
    for (const warmingUp of [latencies.ours, latencies.bare]) warmingUp.splice(0)
  }
  for (let round = 0; round < rounds; round++) for (const { turn, turns } of fleets) turns.push(await turn(claims))
  for (const { close } of fleets) await close()
  const medians = fleets.map(({ size, turns, latencies }) => ({ size, latencies, ...median(turns) }))
  const cost = (of: Turn) => of.schedulerCpuMs + of.databaseCpuMs
  const [least] = medians
  if (least === undefined) return
  console.log(`select and claim, ${IN_FLIGHT} in flight; CPU in ms per claim`)
  console.table(
    medians.map((one) => ({
      hosts: one.size,
      scheduler: one.schedulerCpuMs.toFixed(3),
      database: one.databaseCpuMs.toFixed(3),
      [`cost / cost at ${least.size}`]: (cost(one) / cost(least)).toFixed(2),
      'bare claim': one.bareCpuMs.toFixed(3),
      'cost / bare claim': (cost(one) / one.bareCpuMs).toFixed(2),
    })),
  )
  console.log('with what is told of each request stored beside its claim (notifications.select_destinations)')
  console.table(
    medians.map((one) => ({
      hosts: one.size,
      'told, ms of CPU': one.toldCpuMs.toFixed(3),
      'told / untold': (one.toldCpuMs / cost(one)).toFixed(2),
    })),
  )
  console.log(`how long it takes, in ms (aim: p99 at most 4 of the bare claim statement's, ${IN_FLIGHT} in flight)`)
  console.table(
    medians.map(({ size, aloneMs, latencies: { ours, bare } }) => ({
      hosts: size,
      'p50, alone': aloneMs.toFixed(2),
      p50: at(ours, 0.5).toFixed(2),
      p99: at(ours, 0.99).toFixed(2),
      'p99 of the bare claim': at(bare, 0.99).toFixed(2),
      'p99 / p99': (at(ours, 0.99) / at(bare, 0.99)).toFixed(2),
    })),
  )
  console.log('beside what OpenStack was documented to take for the same work (aim: a hundredth)')
  console.table(
    medians.flatMap((one) => {
      const theirs = OPENSTACK.selectMs[one.size as 100 | 1000]
      if (theirs === undefined) return []
      const ratio = { 'time, alone': (theirs / one.aloneMs).toFixed(0), 'cost in CPU': (theirs / cost(one)).toFixed(0) }
      return [{ hosts: one.size, 'OpenStack / sevbus:': '', ...ratio }]
    }),
  )
}

async function prepare(url: string, size: number) {
  const fleet = await openFleet(url, size)
  const { manager, placement } = await openScheduler(fleet.database)
  const teller = await openScheduler(fleet.database, { isTelling: true })
  const cpu = async () => ({ own: ownCpuMs(), all: await cpuMsOf(fleet.url) })
  const bare = (n: number) => {
    const host = hostName((n * 7919) % size)
    const allocations = [
      { provider: host, resource_class: 'DISK_GB', amount: 1 },
      { provider: host, resource_class: 'MEMORY_MB', amount: 1 },
      { provider: host, resource_class: 'VCPU', amount: 1 },
    ]
    const report = { hosts_considered: size, rejected: [], rejections: [], ranking: [] }
    return placement.claim(randomUUID(), { host, attempt: 1, allocations, report })
  }
  const measured = async (count: number, inFlight: number, one: (n: number) => Promise<unknown>) => {
    const before = await cpu()
    const latencies = await drive(count, inFlight, one)
    const after = await cpu()
    const own = (after.own - before.own) / count
    return { latencies, own, database: (after.all - before.all) / count - own }
  }
  const latencies: Latencies = { ours: [], bare: [] }
  return {
    latencies,
    async turn(count: number): Promise<Turn> {
      const together = await measured(count, IN_FLIGHT, (n) => select(manager, n))
      const alone = await drive(Math.ceil(count / 10), 1, (n) => select(manager, n))
      const told = await measured(count, IN_FLIGHT, (n) => select(teller.manager, n))
      // The bare claim chooses nothing: its hosts must not be full.
      await emptied(fleet.database)
      const plain = await measured(count, IN_FLIGHT, bare)
      await emptied(fleet.database)
      latencies.ours.push(...together.latencies)
      latencies.bare.push(...plain.latencies)
      return {
        schedulerCpuMs: together.own,
        databaseCpuMs: together.database,
        aloneMs: quantile(alone, 0.5),
        bareCpuMs: plain.own + plain.database,
        toldCpuMs: told.own + told.database,
      }
    },
    async close() {
      await manager.close()
      await teller.manager.close()
      await fleet.close()
    },
  }
}

function at(latencies: readonly number[], share: number): number {
  return quantile(
    latencies.toSorted((a, b) => a - b),
    share,
  )
}

/** What was claimed is given back, outside of what is measured. */
async function emptied(database: Awaited<ReturnType<typeof openFleet>>['database']): Promise<void> {
  await database.query(`delete from allocations a using consumers c where c.uuid = a.consumer and c.report is not null`)
  await database.query('delete from consumers where report is not null')
  await database.query('vacuum analyze')
}

function median(turns: readonly Turn[]): Turn {
  const of = (field: keyof Turn) =>
    at(
      turns.map((turn) => turn[field]),
      0.5,
    )
  const fields = Object.keys(turns[0] as Turn) as (keyof Turn)[]
  return Object.fromEntries(fields.map((field) => [field, of(field)])) as unknown as Turn
}
