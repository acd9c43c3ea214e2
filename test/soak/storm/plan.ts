import type { Flavor } from '../../../src/objects/flavor.ts'
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
  readonly flavor: Flavor
  readonly count: number
  /** All of them or none. */
  readonly together: boolean
  readonly afterMs: number
}

export interface Kill {
  readonly worker: Worker
  readonly afterMs: number
}

/** Of any instance that is active then, and that nobody has moved: it is brought elsewhere, and somebody decides. */
export interface Move {
  /** Another size, and perhaps another model; absent: a cold migration. */
  readonly flavor?: Flavor
  readonly decision: 'confirm' | 'revert'
  readonly afterMs: number
}

/** Of any instance as above: it is put away, and perhaps taken out again. */
export interface Shelving {
  readonly returns: boolean
  readonly afterMs: number
}

/** What is asked for at once, and who is killed meanwhile. */
export interface Burst {
  readonly boots: readonly Boot[]
  readonly moves: readonly Move[]
  readonly shelvings: readonly Shelving[]
  /** The broker is killed then, and started again. */
  readonly brokerAfterMs?: number
  /** Which part of the instances is deleted, from 0 to 1, and when. */
  readonly deletes: { readonly part: number; readonly afterMs: number }
  readonly kills: readonly Kill[]
}

const EXTRA_SPECS = ['', '', 'amd-sev', 'amd-sev', 'amd-sev-es', 'amd-sev-snp,amd-sev-es', 'amd-sev-es,amd-sev'].map(
  (models) => (models === '' ? {} : { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': models }),
)
const FLAVORS = EXTRA_SPECS.map((specs) => aFlavor(specs))
const LARGER_SIZE = { flavorid: 'f2', name: 'm2.test', vcpus: 2, memory_mb: 2048, root_gb: 20 }
const LARGER = EXTRA_SPECS.map((specs) => aFlavor(specs, LARGER_SIZE))
/** When nobody is killed any more, it surely arrives, for there is room for guests in clear, and goes back. */
export const CALM = {
  boot: { name: 'calm', flavor: aFlavor() },
  move: { flavor: aFlavor({}, LARGER_SIZE), decision: 'revert', afterMs: 0 } satisfies Move,
  shelving: { returns: true, afterMs: 0 } satisfies Shelving,
}
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
      count: upTo(4),
      together: random() < 0.25,
      afterMs: soon(),
    })),
    moves: Array.from({ length: 3 + upTo(3) }, () => ({
      ...(random() < 0.6 && { flavor: oneOf(random, LARGER) }),
      decision: random() < 0.5 ? ('confirm' as const) : ('revert' as const),
      afterMs: soon(),
    })),
    shelvings: Array.from({ length: 1 + upTo(2) }, () => ({ returns: random() < 0.7, afterMs: soon() })),
    // Once in the short form, now and then in the long one.
    ...(n % 5 === 0 && { brokerAfterMs: soon() }),
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
