import { parseArgs } from 'node:util'
import { openPglite } from '../../src/database/pglite.ts'
import { SABOTEURS } from './saboteurs.ts'
import { type Outcome, type Plan, simulate } from './simulation.ts'

const HELP = `Several schedulers over one placement, by a virtual clock: which statement of whom comes next, who dies, and what
hosts, operators and the database do, is chosen by a seed. After every step everything is checked by SQL of its own.

  npm run simulate -- [options]

  --seed N        the first seed (default: another one each time)
  --runs N        so many seeds, one after the other (default 100; 1 with --seed)
  --steps N       of each run (default 400). A shorter run is the beginning of a longer one
  --trace         every step, although nothing is wrong
  --sabotage NAME with a fault put in, that must be found: ${Object.keys(SABOTEURS).join(', ')}

Exit code 1: something happened that must never happen. Its seed, the number of steps that lead to it, and the last of
them are printed.
`
const LAST_LINES = 60

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    runs: { type: 'string' },
    steps: { type: 'string', default: '400' },
    trace: { type: 'boolean', default: false },
    sabotage: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  say(HELP)
  process.exit(0)
}
process.exitCode = (await main()) ? 0 : 1

async function main(): Promise<boolean> {
  const sabotage = saboteur(values.sabotage)
  const first = Number(values.seed ?? Math.floor(Math.random() * 1e6))
  const runs = Number(values.runs ?? (values.seed === undefined ? 100 : 1))
  const engine = await openPglite()
  const counts: Record<string, number> = {}
  try {
    for (let seed = first; seed < first + runs; seed++) {
      const plan: Plan = { seed, steps: Number(values.steps), ...(sabotage && { sabotage }) }
      const outcome = await simulate(engine, plan)
      if (values.trace) say(outcome.trace.join('\n'))
      if (tellViolation(outcome)) return false
      for (const [what, count] of Object.entries(outcome.counts)) counts[what] = (counts[what] ?? 0) + count
    }
  } finally {
    await engine.close()
  }
  const answers = Object.entries(counts).map(([what, count]) => `${what} ${count}`)
  say(
    `seeds ${first} to ${first + runs - 1}, ${values.steps} steps each: nothing is wrong. Answers: ${answers.join(', ')}`,
  )
  return true
}

function saboteur(name: string | undefined): Plan['sabotage'] {
  if (name !== undefined && SABOTEURS[name] === undefined) throw new Error(`no such fault: ${name}`)
  return name === undefined ? undefined : SABOTEURS[name]
}

function tellViolation({ plan, trace, violation }: Outcome): boolean {
  if (violation === undefined) return false
  const { problem, step } = violation
  if (!values.trace) say(trace.slice(-LAST_LINES).join('\n'))
  const sabotage = values.sabotage === undefined ? '' : ` --sabotage ${values.sabotage}`
  say(`\n${problem}\n\nagain: npm run simulate -- --seed ${plan.seed} --steps ${step}${sabotage}`)
  return true
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
