import { isDeepStrictEqual } from 'node:util'
import pino from 'pino'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { Auditor } from '../../src/scheduler/audit/auditor.ts'
import { holds } from './capacity.ts'
import type { Checker } from './checker.ts'
import type { SimulatedInstance } from './instances.ts'
import { findingsOf, peersFor } from './simulated-fleet.ts'
import { must, Violation } from './violation.ts'
import { quiet, type World } from './world.ts'

/** More statements than anything of this size may need to come to rest. */
const TURNS = 5000
const info = { context: newRequestContext(), signal: new AbortController().signal }

/**
 * Brings everything to rest, and then to nothing: whoever has no answer asks again, an audit finds what is there right,
 * everything is given back, and an audit finds nothing.
 */
export async function finish(world: World, checker: Checker, tell: (line: string) => void): Promise<void> {
  world.database = 'is well'
  if (world.running.length === 0) tell(`${world.startScheduler().name} starts`)
  await rest(world, checker)
  for (const instance of world.instances.values()) {
    const { tries, gaveBackThrough, answers } = instance
    if (gaveBackThrough < tries && !answers.has(tries)) world.ask(instance, tries, world.pick(world.running))
  }
  await rest(world, checker)
  // Who was refused gives back what an earlier try may have.
  giveBack(world, ({ answers, tries }) => !answers.has(tries))
  await rest(world, checker)
  tell('everything is at rest')
  await audit(world)

  giveBack(world, () => true)
  await rest(world, checker)
  tell('everything is given back')
  const left = [
    ...world.tables.allocations,
    ...world.tables.inventories.filter(({ used, pinned }) => used + pinned > 0),
  ]
  must(left.length === 0, () => `after everything was given back there is ${JSON.stringify(left)}`)
  await audit(world)
}

function giveBack(world: World, is: (instance: SimulatedInstance) => boolean): void {
  for (const instance of world.instances.values()) {
    if (instance.gaveBackThrough >= instance.tries || !is(instance)) continue
    instance.gaveBackThrough = instance.tries
    world.releases.push({ instance, attempt: instance.tries, state: 'waits' })
  }
}

/** Until nothing is on its way. */
async function rest(world: World, checker: Checker): Promise<void> {
  for (let turns = 0; turns < TURNS; turns++) {
    for (const release of world.releases) {
      if (release.state === 'waits' && world.running.length > 0) world.offer(release, world.pick(world.running))
    }
    await checker.check()
    if (world.waiting.length === 0 && world.releases.every(({ state }) => state === 'is done')) {
      must(world.asks.size === 0, () => `${[...world.asks].map(({ instance }) => instance.name)} got no answer`)
      return
    }
    if (world.waiting.length > 0) await world.turn(world.pick(world.waiting), 'done')
  }
  throw new Violation(`not at rest after ${TURNS} statements: ${JSON.stringify(world.waiting.slice(0, 5))}`)
}

/** It finds what is more used than there is, by our own arithmetic, and nothing else. */
async function audit(world: World): Promise<void> {
  const client = peersFor([...world.instances.values()])
  const auditor = new Auditor({ database: world.engine, client, logger: pino({ level: 'silent' }) })
  const report = await passing(world, auditor.audit({ repair: false, settle_seconds: 0 }, info))
  const over = world.tables.inventories.filter((row) => row.used > 0 && !(row.offered && holds(row)))
  const found = report.findings.map(({ kind, problem }) => `${kind} of ${problem.split(':')[0]}`)
  const expected = over.map(({ provider, resource_class }) => `overcommit of ${resource_class} of ${provider}`)
  must(isDeepStrictEqual(found.toSorted(), expected.toSorted()), () => {
    return `the audit found ${findingsOf(report).join('; ') || 'nothing'}; expected: ${expected.join('; ') || 'nothing'}`
  })
}

/** What waits for time to pass gets it. */
async function passing<T>(world: World, work: Promise<T>): Promise<T> {
  let isOver = false
  const over = () => {
    isOver = true
  }
  work.then(over, over)
  while (!isOver) {
    world.clock.advance(1)
    await quiet()
  }
  return work
}
