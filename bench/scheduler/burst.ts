import { openPostgres } from '../../dist/database/postgres.js'
import { openFleet } from './fleet.ts'
import { drive, openScheduler, quantile, select } from './requests.ts'

/** As many as a worker serves at a time. */
const IN_FLIGHT = 32

/** A burst of boots over schedulers that know nothing of each other: how often a host is lost to a faster claim. */
export async function benchBurst(url: string, hosts: number, boots: number): Promise<void> {
  const rows = []
  for (const schedulers of [1, 3]) {
    for (const [what, kind] of [
      ['mixed', (n: number) => n],
      ['all encrypted', (n: number) => n * 12],
    ] as const) {
      rows.push({ schedulers, guests: what, ...(await burst(url, hosts, boots, schedulers, kind)) })
    }
  }
  console.log(`a burst of ${boots} boots on ${hosts} hosts: lost claims of a request (aim: at most 2 at p99)`)
  console.table(rows)
}

async function burst(url: string, hosts: number, boots: number, count: number, kind: (n: number) => number) {
  const fleet = await openFleet(url, hosts)
  const databases = await Promise.all(
    Array.from({ length: count }, () => openPostgres({ url: fleet.url, poolSize: 8 })),
  )
  const schedulers = await Promise.all(databases.map((database) => openScheduler(database)))
  const share = Math.ceil(boots / count)
  const began = performance.now()
  const latencies = await Promise.all(
    schedulers.map(({ manager }) => drive(share, IN_FLIGHT, (n) => select(manager, kind(n)))),
  )
  const seconds = (performance.now() - began) / 1000
  const retries = schedulers.flatMap(({ tries }) => tries.take()).toSorted((a, b) => a - b)
  for (const { manager } of schedulers) await manager.close()
  for (const database of databases) await database.close()
  await fleet.close()
  return {
    'p50 lost': quantile(retries, 0.5),
    'p99 lost': quantile(retries, 0.99),
    'most lost': retries.at(-1),
    'p99, ms': quantile(
      latencies.flat().toSorted((a, b) => a - b),
      0.99,
    ).toFixed(0),
    'boots a second': (retries.length / seconds).toFixed(0),
  }
}
