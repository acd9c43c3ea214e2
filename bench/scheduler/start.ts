import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openFleet } from './fleet.ts'
import { quantile } from './requests.ts'

const COLD = join(import.meta.dirname, 'cold.ts')
const ROUNDS = 3

/** From nothing in memory to the first request that is served, beside reading the same rows. */
export async function benchStart(url: string, hosts: number): Promise<void> {
  const fleet = await openFleet(url, hosts)
  const took = { ours: [] as number[], bare: [] as number[] }
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ['ours', 'bare'] as const) {
      const { stdout } = await promisify(execFile)('npx', ['tsx', COLD, way, fleet.url])
      took[way].push(Number(stdout))
    }
  }
  await fleet.close()
  const [ours, bare] = [took.ours, took.bare].map((all) =>
    quantile(
      all.toSorted((a, b) => a - b),
      0.5,
    ),
  ) as [number, number]
  console.log(
    `cold start at ${hosts} hosts to the first request served: ${ours.toFixed(0)} ms; the driver alone reads the rows in ${bare.toFixed(0)} ms; ratio ${(ours / bare).toFixed(2)}, aim <= 4`,
  )
}
