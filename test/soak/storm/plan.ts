import { aFlavor } from '../../support/requests.ts'
import { oneOf, randomFrom } from '../random.ts'

/** Workers that are killed and started again, two of each service at least: the others serve meanwhile. */
export const CONDUCTORS = ['c1', 'c2'] as const
export const SCHEDULERS = ['s1', 's2', 's3'] as const
/** The one who writes the bill. */
export const BILLER = 'biller'
/** Simulated hosts: their guests live on while their workers are dead. */
export const HOST_NAMES = ['h1', 'h2', 'h3'] as const
type Worker = (typeof CONDUCTORS | typeof SCHEDULERS | typeof HOST_NAMES)[number] | typeof BILLER

export interface Boot {
  readonly name: string
  readonly flavor: ReturnType<typeof aFlavor>
  readonly count: number
  /** All of them or none. */
  readonly together: boolean
  readonly afterMs: number
}

export interface Kill {
  readonly worker: Worker
  readonly afterMs: number
}

/** What is asked for at once, and who is killed meanwhile. */
export interface Burst {
  readonly boots: readonly Boot[]
  /** Which part of the instances is deleted, from 0 to 1, and when. */
  readonly deletes: { readonly part: number; readonly afterMs: number }
  readonly kills: readonly Kill[]
}

const FLAVORS = ['', 'amd-sev', 'amd-sev', 'amd-sev-es', 'amd-sev-snp,amd-sev-es', 'amd-sev-es,amd-sev'].map((models) =>
  aFlavor(models === '' ? {} : { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': models }),
)
/** A burst lasts about so long. */
const BURST_MS = 1500

/** The same seed, the same bursts and kills; what is hit by them is up to the machine. */
export function planOf(seed: number, bursts: number): readonly Burst[] {
  const random = randomFrom(seed)
  const upTo = (n: number) => 1 + Math.floor(random() * n)
  // Each burst kills one of each service, a host's worker among them, and the biller, at times of their own, and sometimes one more.
  const soon = () => Math.floor(random() * BURST_MS)
  const kill = (workers: readonly Worker[]) => ({ worker: oneOf(random, workers), afterMs: soon() })
  return Array.from({ length: bursts }, (_, n) => ({
    boots: Array.from({ length: 4 + upTo(6) }, (__, m) => ({
      name: `b${n + 1}-${m + 1}`,
      flavor: oneOf(random, FLAVORS),
      count: upTo(5),
      together: random() < 0.25,
      afterMs: soon(),
    })),
    deletes: { part: random() * 0.6, afterMs: soon() },
    kills: [
      kill(CONDUCTORS),
      kill(SCHEDULERS),
      kill([BILLER]),
      kill(HOST_NAMES),
      ...(random() < 0.5 ? [kill(SCHEDULERS)] : []),
    ],
  }))
}
