import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Database } from '../../src/database/database.ts'
import { openEmbeddedCopy } from '../support/embedded-copy.ts'
import { SABOTEURS } from './saboteurs.ts'
import { theHosts } from './simulated-host.ts'
import { simulate } from './simulation.ts'

let engine: Database & AsyncDisposable
beforeAll(async () => {
  engine = await openEmbeddedCopy()
})
afterAll(async () => {
  await engine[Symbol.asyncDispose]()
})

/** `npm run simulate` is the long form. */
const SEEDS = [1, 2]
const STEPS = 350

describe('several schedulers over one placement, whatever happens in whatever order', () => {
  it('keep what must hold after every step, and come to nothing in the end', { timeout: 300_000 }, async () => {
    const counts: Record<string, number> = {}
    for (const seed of SEEDS) {
      const outcome = await simulate(engine, { seed, steps: STEPS })

      expect({ seed, violation: outcome.violation }).toEqual({ seed, violation: undefined })
      for (const [what, count] of Object.entries(outcome.counts)) counts[what] = (counts[what] ?? 0) + count
    }
    // Otherwise it would have proved nothing.
    const hosts = theHosts().map(({ name }) => name)
    const refusals = ['NO_VALID_HOST', 'STALE_ATTEMPT', 'DATABASE_UNAVAILABLE']
    const ofBatches = ['all', 'none, NO_VALID_HOST']
    const ofMoves = ['move confirmed', 'move reverted']
    for (const answer of [...hosts, ...refusals, ...ofBatches, ...ofMoves]) {
      expect({ answer, count: counts[answer] ?? 0 }).not.toEqual({ answer, count: 0 })
    }
  })

  it('do the same again for the same seed, and a shorter run is the beginning of a longer one', async () => {
    const long = await simulate(engine, { seed: 7, steps: 80 })
    const again = await simulate(engine, { seed: 7, steps: 80 })
    const short = await simulate(engine, { seed: 7, steps: 40 })

    const stepsOf = ({ trace }: typeof long) => trace.filter((line) => /^ +\d+ /.test(line))
    expect(again.trace).toEqual(long.trace)
    expect(stepsOf(short)).toEqual(stepsOf(long).slice(0, 40))
  })

  it.each(Object.entries(SABOTEURS))('do not get away with %s', { timeout: 300_000 }, async (_, sabotage) => {
    let found: string | undefined
    for (let seed = 1; seed <= 12 && found === undefined; seed++) {
      found = (await simulate(engine, { seed, steps: STEPS, sabotage })).violation?.problem
    }

    expect(found).toBeDefined()
  })
})
