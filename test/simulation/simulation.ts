import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import type { Placement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { audit } from './audit.ts'
import { Checker } from './checker.ts'
import { finish } from './finish.ts'
import { STEPS } from './steps.ts'
import { emptyTables } from './tables.ts'
import { Violation } from './violation.ts'
import { VirtualClock } from './virtual-clock.ts'
import { GROUPS } from './wishes.ts'
import { World } from './world.ts'

/** So many steps. */
const AUDIT_EVERY = 25

export interface Plan {
  readonly seed: number
  readonly steps: number
  readonly sabotage?: (placement: Placement) => Placement
}

export interface Outcome {
  readonly plan: Plan
  /** What went wrong, and after which step; undefined: nothing did. */
  readonly violation?: { readonly problem: string; readonly step: number }
  /** A line for each step. */
  readonly trace: readonly string[]
  /** How often was what answered; proves that there was something to check. */
  readonly counts: Readonly<Record<string, number>>
}

/**
 * Lets several schedulers serve one placement for so many steps, chosen by the seed, and checks after each of them. The
 * same plan gives the same steps, and a shorter one a prefix of them.
 */
export async function simulate(engine: Database, plan: Plan): Promise<Outcome> {
  await emptyTables(engine, async () => void (await migrate(engine, placementMigrations)))
  using clock = new VirtualClock()
  const world = new World({ engine, clock, seed: plan.seed, sabotage: plan.sabotage ?? ((placement) => placement) })
  const trace: string[] = []
  const checker = new Checker(world, (line) => trace.push(`      ${line}`))
  let step = 0
  const ended = () => ({ plan, trace, counts: { ...checker.counts, ...movesOf(world) } })
  try {
    await world.write(`insert into aggregates (name, metadata) values ('east', '{"availability_zone": "east"}')`, [])
    for (const { uuid, policy } of GROUPS) {
      await world.write('insert into server_groups (uuid, name, policy) values ($1, $2, $2)', [uuid, policy])
    }
    world.startScheduler()
    world.startScheduler()
    while (step < plan.steps) {
      const told = await someStep(world)
      if (told === undefined) continue
      trace.push(`${String(++step).padStart(5)} ${told}`)
      await checker.check()
      if (step % AUDIT_EVERY === 0) await audit(world)
    }
    await finish(world, checker, (line) => trace.push(`  end ${line}`))
    return ended()
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    return { ...ended(), violation: { problem: error.message, step } }
  }
}

/** How many moves ended how. */
function movesOf({ instances }: World): Record<string, number> {
  const counts: Record<string, number> = {}
  const moves = [...instances.values()].flatMap((instance) => [...new Set(instance.moves.values())])
  for (const { state } of moves) counts[`move ${state}`] = (counts[`move ${state}`] ?? 0) + 1
  return counts
}

const TOTAL_WEIGHT = STEPS.reduce((sum, { weight }) => sum + weight, 0)

async function someStep(world: World): Promise<string | undefined> {
  let dice = world.random() * TOTAL_WEIGHT
  const chosen = STEPS.find(({ weight }) => {
    dice -= weight
    return dice < 0
  })
  return chosen?.act(world)
}
